"""Short tasks come several at a time, long ones alone, and what is handed back runs elsewhere."""

from __future__ import annotations

from itertools import pairwise

from bundle.dataset.spec import Step
from bundle.fates import Fate
from pilot.core.batching import BATCH_TASKS_MAX, Batching
from pilot.core.durations import Durations
from tests.pilot.site_folder import SiteFolder, command, dataset, fates, shell, small

KIND = (1, 0)


def test_a_task_of_unknown_length_comes_alone_and_last_in_no_batch() -> None:
    durations = Durations()
    batching = Batching(durations)
    assert batching.tasks_at_once(KIND, ready=1000, slots=2) == 1
    assert not batching.is_short(KIND)


def test_short_tasks_come_many_at_once_but_leave_some_for_the_other_slots() -> None:
    durations = Durations()
    batching = Batching(durations)
    durations.note(KIND, 0.0005)
    assert batching.tasks_at_once(KIND, ready=1000, slots=2) == BATCH_TASKS_MAX
    assert batching.tasks_at_once(KIND, ready=6, slots=2) == 3
    assert batching.tasks_at_once(KIND, ready=0, slots=2) == 1
    assert batching.is_short(KIND)


def test_long_tasks_come_alone() -> None:
    durations = Durations()
    batching = Batching(durations)
    durations.note(KIND, 5.0)
    assert batching.tasks_at_once(KIND, ready=1000, slots=2) == 1


def test_a_kind_that_killed_its_slot_comes_alone_for_ever() -> None:
    durations = Durations()
    batching = Batching(durations)
    batching.distrust(KIND)
    durations.note(KIND, 0.0001)
    assert batching.tasks_at_once(KIND, ready=1000, slots=2) == 1
    assert not batching.is_short(KIND)


def test_tasks_behind_one_that_turned_out_long_run_in_other_slots(site: SiteFolder) -> None:
    code = "test $PULK_JOB != 40 || sleep 2"
    lease = site.offered(dataset(Step("mixed", shell(code), request=small()), jobs=120))
    site.run(slots=2)
    attempts = site.attempts(lease)
    assert fates(attempts) == [Fate.SUCCESS] * 120
    assert sorted(attempt.job for attempt in attempts) == list(range(120))
    assert attempts[-1].job == 40  # everything else was done before it ended


def test_no_two_tasks_of_a_slot_overlap(site: SiteFolder) -> None:
    lease = site.offered(dataset(Step("true", command("true"), request=small()), jobs=300))
    site.run(slots=2)
    for slot in (0, 1):
        mine = sorted(
            (one.started_mono_us, one.ended_mono_us)
            for one in site.attempts(lease)
            if one.slot == slot
        )
        assert mine
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(mine))
