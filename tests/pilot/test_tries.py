"""The agenda's order where tasks were tried before: suspects apart and last, waits respected."""

from __future__ import annotations

import dataclasses

from bundle.dataset.spec import Dataset
from bundle.fates import Fate
from bundle.ids import PilotRun
from bundle.records.lease import Lease
from bundle.records.rules import History, RetryRules
from bundle.retry import Ended
from pilot.core.agenda import Agenda, State
from pilot.core.lineage import settle
from pilot.core.tries import HELD_US_MAX
from tests.bundle.retrying import NOW_US
from tests.pilot.test_agenda import NODE, lease_of, step_of

RUN = PilotRun(b"pilotrun")


def agenda_of(data: Dataset, **told: object) -> Agenda:
    lease: Lease = dataclasses.replace(lease_of(data), **told)  # type: ignore[arg-type]
    return Agenda(data, lease, settle(data, lease, ()), NODE, now_us=NOW_US)


def data_of(jobs: int, **rules: int) -> Dataset:
    step = dataclasses.replace(step_of(0, cpu_milli=100, memory_mib=1), failures_max=9)
    step = dataclasses.replace(step, retry=RetryRules(jitter_milli=0, **rules))
    return Dataset("d", jobs, 1, (step,))


def lost(*runs: int) -> History:
    return History(lost_on=frozenset(PilotRun(bytes([n]) * 8) for n in runs), losses=len(runs))


def test_tasks_under_which_pilots_were_lost_come_last_and_share_no_batch() -> None:
    agenda = agenda_of(data_of(4), tried=((0, 0, lost(1)), (2, 0, lost(2))))
    starts = [agenda.next(NODE) for _ in range(4)]
    assert [one.place[1] for one in starts if one] == [1, 3, 0, 2]
    assert [one.alone for one in starts if one] == [False, False, True, True]


def test_of_tasks_that_one_more_loss_makes_poison_one_runs_at_a_time() -> None:
    agenda = agenda_of(data_of(4), tried=((0, 0, lost(1, 2)), (1, 0, lost(1, 2))))
    places, runs = [], False
    while start := agenda.next(NODE, suspect_runs=runs):
        places.append(start.place)
        runs = runs or start.suspect
    assert places == [(0, 2), (0, 3), (0, 0)]
    agenda.ended((0, 0), Fate.SUCCESS)
    following = agenda.next(NODE)
    assert following is not None and following.place == (0, 1)
    agenda.put_back((0, 1))
    again = agenda.next(NODE)
    assert again is not None and again.place == (0, 1)
    agenda.ended((0, 1), Ended(Fate.NODE_FAILURE, RUN))
    assert agenda.state((0, 1)) is State.EXHAUSTED


def test_a_task_that_backs_off_is_due_when_its_rules_say() -> None:
    agenda = agenda_of(data_of(1, backoff_ms=5000))
    assert agenda.next(NODE, NOW_US) is not None
    agenda.ended((0, 0), Ended(Fate.STAGE_IN, RUN, ended_us=NOW_US))
    assert agenda.due_us == NOW_US + 5_000_000 and not agenda.complete
    assert agenda.next(NODE, agenda.due_us - 1) is None
    assert agenda.next(NODE, agenda.due_us) is not None


def test_a_wait_that_is_too_long_for_a_node_is_centrals() -> None:
    agenda = agenda_of(data_of(1, backoff_ms=HELD_US_MAX // 1000 + 1))
    assert agenda.next(NODE, NOW_US) is not None
    agenda.ended((0, 0), Ended(Fate.STAGE_IN, RUN, ended_us=NOW_US))
    assert agenda.complete and agenda.state((0, 0)) is State.EXHAUSTED


def test_a_wait_told_by_a_lease_is_held_but_never_for_long() -> None:
    history = History(((Fate.STAGE_IN, 1),), ended_us=NOW_US - 1)
    agenda = agenda_of(data_of(2, backoff_ms=3_600_000), tried=((0, 0, history),))
    first = agenda.next(NODE, NOW_US)
    assert first is not None and first.place == (0, 1)
    assert agenda.next(NODE, NOW_US) is None
    assert agenda.due_us == NOW_US + HELD_US_MAX
    assert agenda.next(NODE, NOW_US + HELD_US_MAX) is not None


def test_a_clock_that_is_set_back_lets_no_task_wait_for_as_long() -> None:
    agenda = agenda_of(data_of(1, backoff_ms=5000))
    ahead_us = NOW_US + 10 * 365 * 86_400_000_000
    assert agenda.next(NODE, ahead_us) is not None
    agenda.ended((0, 0), Ended(Fate.STAGE_IN, RUN, ended_us=ahead_us))
    assert agenda.next(NODE, ahead_us) is None
    assert agenda.next(NODE, NOW_US) is not None


def test_an_escalated_request_takes_more_of_the_node_and_never_more_than_it_has() -> None:
    agenda = agenda_of(data_of(1))
    rooms = []
    for _ in range(3):
        start = agenda.next(NODE)
        assert start is not None
        rooms.append((start.request.memory_mib, start.need.memory_mib))
        agenda.ended((0, 0), Ended(Fate.OOM, RUN, memory_peak_mib=NODE.memory_mib - 1))
    assert rooms == [(1, 1), *[(NODE.memory_mib, NODE.memory_mib)] * 2]
    start = agenda.next(NODE)
    assert start is not None
    agenda.ended((0, 0), Ended(Fate.OOM, RUN, memory_peak_mib=NODE.memory_mib))
    assert agenda.state((0, 0)) is State.EXHAUSTED  # this node has no more
