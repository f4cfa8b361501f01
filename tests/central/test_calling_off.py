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
from central.core.edit import Size
from tests.central.conftest import Central, chain
from tests.central.scripted_site import Held, ScriptedSite
from tests.central.test_gathering import gathered

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


# -- parts of leases ---------------------------------------------------------------------


def tasks_off(manifests: list[Manifest]) -> dict[LeaseId, set[tuple[int, int]]]:
    """The tasks that manifests call off, (step, job) by lease."""
    found: dict[LeaseId, set[tuple[int, int]]] = {}
    for one in manifests:
        for lease, step, jobs in one.called_off_tasks:
            found.setdefault(lease, set()).update((step, job) for job in jobs)
    return found


def test_of_a_lease_that_goes_on_the_cancelled_tasks_are_called_off_once_and_for_good(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(chain(4, fan_in=False))
    (held,) = works(central, site)
    (lease,) = held.leases
    control(central, dataset, ControlWord.CANCEL, IntervalSet.of([1]))
    said = tasks_off(told(central, site))
    assert said == {lease.lease: {(0, 1), (1, 1)}}
    assert is_quiet(central, site)
    control(central, dataset, ControlWord.CANCEL, IntervalSet.of([3]))
    central.reopen()
    more = {(0, 1), (1, 1), (0, 3), (1, 3)}
    assert tasks_off(told(central, site)) == {lease.lease: more}
    control(central, dataset, ControlWord.UNCANCEL)
    assert is_quiet(central, site)  # what was said stands, for this lease
    assert central.counts(dataset)[0] == {"leased": 4}
    played = site.play(held, lease, jobs=IntervalSet.of([0, 2]))
    assert central.authority.absorb(site.result([played])).outcome == "merged"
    assert central.counts(dataset)[0] == {"done": 2, "ready": 2}
    del site.works[held.id]
    central.authority.absorb(site.report(1000))
    again = [lease for one in site.fetch(central.authority) for lease in one.leases]
    assert {task.job for lease in again for task, _ in lease.tasks()} == {1, 3}
    assert central.authority.pack(SiteName(site.name), 10) is None
    central.fsck()


def truncate(central: Central, dataset: DatasetId, jobs: int) -> None:
    size, key = Size(jobs=jobs), os.urandom(8).hex()
    central.authority.resize(dataset, size, idempotency_key=key, token_id=1)


def test_what_a_truncation_drops_is_called_off_and_leased_anew_when_it_is_wanted(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(chain(JOBS, fan_in=False))
    held = works(central, site)
    truncate(central, dataset, 5)
    manifests = told(central, site)
    whole = {lease for one in manifests for lease in one.called_off}
    parts = tasks_off(manifests)
    off = {
        (step, job)
        for one in held
        for lease in one.leases
        for task, _ in lease.tasks()
        for step, job in [(task.step, task.job)]
        if lease.lease in whole or (step, job) in parts.get(lease.lease, set())
    }
    assert off == {(step, job) for step in (0, 1) for job in range(5, JOBS)}
    assert is_quiet(central, site)
    central.fsck()
    for one in held:
        live = [lease for lease in one.leases if lease.lease not in whole]
        played = [site.play(one, lease, jobs=IntervalSet(((0, 5),))) for lease in live]
        central.authority.absorb(site.result(played))
        del site.works[one.id]
    truncate(central, dataset, JOBS)
    central.authority.absorb(site.report(1000))
    fetched = site.fetch(central.authority)
    again = {task.job for one in fetched for lease in one.leases for task, _ in lease.tasks()}
    assert again == set(range(5, JOBS))
    central.fsck()


def test_blocks_that_a_truncation_drops_are_called_off_with_their_jobs(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(gathered(10))
    (held,) = works(central, site)
    truncate(central, dataset, 4)
    manifests = told(central, site)
    said = {one for several in tasks_off(manifests).values() for one in several}
    for lease in held.leases:
        if any(lease.lease in one.called_off for one in manifests):
            said |= {(task.step, task.job) for task, _ in lease.tasks()}
    dropped = {(0, job) for job in range(4, 10)} | {(s, b) for s in (1, 2) for b in (1, 2)}
    assert said == dropped | {(3, 0)}  # over all blocks, which are others now


def test_tasks_are_said_again_until_the_work_is_gone_from_the_site(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(chain(4, fan_in=False))
    (held,) = works(central, site)
    control(central, dataset, ControlWord.CANCEL, IntervalSet.of([1]))
    told(central, site)
    central.submit(chain(2, fan_in=False))
    manifests = told(central, site)
    assert set(tasks_off(manifests)) == leases([held])
    del site.works[held.id]
    central.authority.absorb(site.report(1000))
    central.submit(chain(3, fan_in=False))
    assert tasks_off(told(central, site)) == {}
