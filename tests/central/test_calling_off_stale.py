"""What sites hold of before a reset, or of another command, is called off and leased anew."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest

from bundle.dataset.spec import Command, Request
from bundle.fates import Fate
from bundle.ids import LeaseId
from bundle.intervals import IntervalSet
from bundle.records.lease import Lease
from central.core.controls import ControlWord
from central.core.edit import Size
from tests.central.conftest import Central, chain
from tests.central.scripted_site import Held, ScriptedSite
from tests.central.test_calling_off import control, is_quiet, leases, tasks_off, works
from tests.central.test_calling_off import told as told_now
from tests.central.test_edit import edit, with_step

JOBS = 40
PLAIN = chain(JOBS, fan_in=False)
OTHER = with_step(PLAIN, 1, run=Command(("/bin/echo", "otherwise")))


@pytest.fixture
def site(central: Central) -> ScriptedSite:
    return central.site()


def told(central: Central, site: ScriptedSite) -> tuple[set[LeaseId], set[tuple[int, int]]]:
    """Let the site have what there is for it; return the leases and tasks that are called off."""
    manifests = told_now(central, site)
    parts = {task for several in tasks_off(manifests).values() for task in several}
    return {lease for one in manifests for lease in one.called_off}, parts


def tasks(several: list[Lease]) -> set[tuple[int, int]]:
    return {(task.step, task.job) for one in several for task, _ in one.tasks()}


def held_since(site: ScriptedSite, before: set[LeaseId]) -> list[Lease]:
    return [one for one in _all(site.works.values()) if one.lease not in before]


def test_a_reset_calls_off_what_ran_and_leases_it_anew_in_the_same_bundle(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(PLAIN)
    first = leases(works(central, site))
    control(central, dataset, ControlWord.RESET)
    assert told(central, site) == (first, set())
    again = held_since(site, first)
    assert tasks(again) == {(step, job) for step in (0, 1) for job in range(JOBS)}
    assert {block.generation for one in again for block in one.blocks} == {1}
    assert is_quiet(central, site)
    central.fsck()


def test_of_a_lease_the_tasks_that_were_reset_are_called_off_and_leased_anew_at_once(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(chain(4, fan_in=False))
    (held,) = works(central, site)
    control(central, dataset, ControlWord.RESET, IntervalSet.of([1]))
    assert told(central, site) == (set(), {(0, 1), (1, 1)})
    again = held_since(site, leases([held]))
    assert tasks(again) == {(0, 1), (1, 1)}  # though the first lease goes on
    assert is_quiet(central, site)
    played = site.play(held, held.leases[0], jobs=IntervalSet.of([0, 2, 3]))
    assert central.authority.absorb(site.result([played])).outcome == "merged"
    assert central.counts(dataset)[0] == {"done": 3, "leased": 1}
    central.fsck()


def test_what_a_site_computes_of_before_a_reset_all_the_same_is_kept_and_may_be_adopted(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(chain(2, fan_in=False))
    (held,) = works(central, site)
    control(central, dataset, ControlWord.RESET)
    told(central, site)
    played = [site.play(held, lease) for lease in held.leases]
    assert central.authority.absorb(site.result(played)).outcome == "merged"
    assert central.counts(dataset)[0] == {"leased": 2}
    control(central, dataset, ControlWord.ADOPT)
    assert [one["done"] for one in central.counts(dataset)] == [2, 2]
    central.fsck()


def test_a_reset_that_was_adopted_before_the_site_heard_of_it_calls_nothing_off(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(PLAIN)
    works(central, site)
    control(central, dataset, ControlWord.RESET)
    control(central, dataset, ControlWord.ADOPT)
    assert told(central, site) == (set(), set())


def test_of_an_edited_command_the_step_is_called_off_and_what_comes_before_goes_on(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(PLAIN)
    held = works(central, site)
    edit(central, dataset, OTHER)
    of_step = {(1, job) for job in range(JOBS)}
    whole, parts = told(central, site)
    of_whole = [one for one in _all(held) if one.lease in whole]
    assert tasks(of_whole) | parts == of_step
    assert is_quiet(central, site)
    for one in held:
        mine = [lease for lease in one.leases if lease.lease not in whole]
        played = [site.play(one, lease, fate=only_first) for lease in mine]
        assert central.authority.absorb(site.result(played)).outcome == "merged"
        del site.works[one.id]
    site.work_all(central.authority)
    assert [one["done"] for one in central.counts(dataset)] == [JOBS, JOBS]
    central.fsck()


def only_first(place: tuple[int, int], _tried: int) -> Fate:
    return Fate.SUCCESS if place[0] == 0 else Fate.CANCELLED


def _all(held: Iterable[Held]) -> list[Lease]:
    return [lease for one in held for lease in one.leases]


def test_an_edit_of_a_request_calls_nothing_off(central: Central, site: ScriptedSite) -> None:
    dataset = central.submit(PLAIN)
    works(central, site)
    edit(central, dataset, with_step(PLAIN, 0, request=Request(memory_mib=900)))
    assert told(central, site) == (set(), set())


def test_what_gathers_all_jobs_is_called_off_when_there_are_more(
    central: Central, site: ScriptedSite
) -> None:
    dataset = central.submit(chain(4))
    (held,) = works(central, site)
    size, key = Size(jobs=6), os.urandom(8).hex()
    central.authority.resize(dataset, size, idempotency_key=key, token_id=1)
    whole, parts = told(central, site)
    assert tasks([one for one in held.leases if one.lease in whole]) | parts == {(2, 0)}
