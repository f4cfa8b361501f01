"""What was cancelled is called off at sites that hold it: as whole leases, once and for good."""

from __future__ import annotations

import os

import pytest

from bundle.fates import Fate
from bundle.ids import DatasetId, LeaseId, SiteName
from bundle.intervals import IntervalSet
from bundle.wire.manifest import Kind, Manifest
from bundle.wire.read import open_bundle
from central.core.controls import ControlWord
from tests.central.conftest import Central, chain
from tests.central.scripted_site import Held, ScriptedSite

JOBS = 40


@pytest.fixture
def site(central: Central) -> ScriptedSite:
    return central.site()


def control(
    central: Central, of: DatasetId, word: ControlWord, jobs: IntervalSet | None = None
) -> None:
    key = os.urandom(8).hex()
    central.authority.control(of, word, jobs, None, idempotency_key=key, token_id=1)


def works(central: Central, site: ScriptedSite) -> list[Held]:
    """Have the site hold all work that there is."""
    central.authority.absorb(site.report(1000))
    return [one for one in site.fetch(central.authority) if one.leases]


def is_quiet(central: Central, site: ScriptedSite) -> bool:
    """Return whether nothing is packed for a site now that it does not have."""
    rows = central.authority.outbox(site.name)
    sequences = {number for numbers in site.received.values() for number in numbers}
    return all(one.sequence in sequences for one in rows)


def told(central: Central, site: ScriptedSite) -> list[Manifest]:
    """Return what the site is told now, and let it have that."""
    manifests = []
    for one in central.authority.outbox(site.name):
        path = central.authority.outgoing(site.name, one.id)
        with open_bundle(
            path, site.trust, audience=site.name, kinds=frozenset({Kind.WORK})
        ) as bundle:
            manifests.append(bundle.manifest)
        site.take(path)
    return manifests


def leases(held: list[Held]) -> set[LeaseId]:
    return {lease.lease for one in held for lease in one.leases}


def test_a_cancelled_dataset_is_news_for_the_site_that_holds_it_and_for_no_other(
    central: Central, site: ScriptedSite
) -> None:
    other = central.site("south")
    dataset = central.submit(chain(JOBS, fan_in=False))
    held = works(central, site)
    assert is_quiet(central, site)
    control(central, dataset, ControlWord.CANCEL)
    (manifest,) = told(central, site)
    assert set(manifest.called_off) == leases(held)
    assert is_quiet(central, site)  # once said it is no news
    assert not any(one.called_off for one in told(central, other))
    central.fsck()


def test_every_later_bundle_says_it_again_until_the_site_no_longer_holds_the_work(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(chain(JOBS, fan_in=False))
    held = works(central, site)
    control(central, dataset, ControlWord.CANCEL)
    told(central, site)
    central.submit(chain(2, fan_in=False))
    (manifest,) = told(central, site)
    assert set(manifest.called_off) == leases(held)
    for one in held:
        del site.works[one.id]
    central.authority.absorb(site.report(1000))
    central.submit(chain(3, fan_in=False))
    (manifest,) = told(central, site)
    assert manifest.called_off == ()


def test_what_is_wanted_again_after_it_was_called_off_is_leased_anew_at_once(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(chain(JOBS, fan_in=False))
    first = leases(works(central, site))
    control(central, dataset, ControlWord.CANCEL)
    told(central, site)
    control(central, dataset, ControlWord.UNCANCEL)
    again = leases([one for one in site.fetch(central.authority) if one.leases])
    assert again and again.isdisjoint(first)
    central.fsck()


def test_a_cancel_that_was_taken_back_before_the_site_heard_of_it_changes_nothing(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(chain(JOBS, fan_in=False))
    works(central, site)
    control(central, dataset, ControlWord.CANCEL)
    control(central, dataset, ControlWord.UNCANCEL)
    assert is_quiet(central, site)
    control(central, dataset, ControlWord.SUSPEND)  # what is out may end
    assert is_quiet(central, site)


def test_a_lease_is_called_off_when_the_last_of_its_tasks_is_cancelled(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(chain(JOBS, fan_in=False))
    held = works(central, site)
    control(central, dataset, ControlWord.CANCEL, IntervalSet(((0, JOBS - 1),)))
    whole = {
        lease.lease
        for one in held
        for lease in one.leases
        if all(JOBS - 1 not in block.jobs for block in lease.blocks)
    }
    said = {lease for one in told(central, site) for lease in one.called_off}
    assert said == whole
    control(central, dataset, ControlWord.CANCEL, IntervalSet.of([JOBS - 1]))
    said |= {lease for one in told(central, site) for lease in one.called_off}
    assert said == leases(held)


def test_results_of_what_was_called_off_are_merged_and_count_once_it_is_wanted(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(chain(2, fan_in=False))
    (held,) = works(central, site)
    control(central, dataset, ControlWord.CANCEL)
    told(central, site)
    played = [site.play(held, lease) for lease in held.leases]
    assert central.authority.absorb(site.result(played)).outcome == "merged"
    assert [one["cancelled"] for one in central.counts(dataset)] == [2, 2]
    control(central, dataset, ControlWord.UNCANCEL)
    assert [one["done"] for one in central.counts(dataset)] == [2, 2]
    central.fsck()


def test_what_was_stopped_uses_up_no_try(central: Central, site: ScriptedSite) -> None:
    dataset = central.submit(chain(2, fan_in=False, failures_max=1))
    (held,) = works(central, site)
    control(central, dataset, ControlWord.CANCEL)
    told(central, site)
    stopped = [
        site.play(held, lease, fate=lambda _p, _t: Fate.CANCELLED, complete=False)
        for lease in held.leases
    ]
    assert central.authority.absorb(site.result(stopped)).outcome == "merged"
    control(central, dataset, ControlWord.UNCANCEL)
    del site.works[held.id]
    site.work_all(central.authority)
    assert [one["done"] for one in central.counts(dataset)] == [2, 2]


def test_work_that_never_arrived_is_called_off_and_need_not_come(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(chain(JOBS, fan_in=False))
    central.authority.absorb(site.report(1000))
    (row,) = central.authority.outbox(site.name)
    control(central, dataset, ControlWord.CANCEL)
    (manifest,) = told(central, site)
    assert manifest.called_off and row.sequence in manifest.withdrawn
    assert is_quiet(central, site)


def test_a_new_start_of_central_says_it_again_and_calls_off_nothing_twice(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(chain(JOBS, fan_in=False))
    held = works(central, site)
    control(central, dataset, ControlWord.CANCEL)
    central.reopen()
    (manifest,) = told(central, site)
    assert set(manifest.called_off) == leases(held)
    central.reopen()
    assert is_quiet(central, site)
    assert central.authority.pack(SiteName(site.name), 10) is None
