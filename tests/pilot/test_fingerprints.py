"""When a node takes itself for broken, and when it does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bundle.fates import Fate
from pilot.core.fingerprints import FAILURES_IN_A_ROW, FAST_MS, KINDS_AMONG_THEM, Fingerprints

MANY = 5 * FAILURES_IN_A_ROW


def _retires(events: list[tuple[int, Fate, int]]) -> bool:
    seen = Fingerprints()
    return any(seen.note(kind, fate, wall_ms) for kind, fate, wall_ms in events)


def test_fast_failures_of_several_kinds_in_a_row_are_a_black_hole() -> None:
    events = [(n % KINDS_AMONG_THEM, Fate.PAYLOAD_ERROR, 3) for n in range(FAILURES_IN_A_ROW)]
    assert _retires(events) and not _retires(events[:-1])


def test_one_bad_kind_is_the_task_and_not_the_node() -> None:
    assert not _retires([(0, Fate.PAYLOAD_ERROR, 3)] * MANY)


def test_the_kernel_killing_for_memory_is_reason_enough() -> None:
    assert "memory" in Fingerprints().note(0, Fate.OOM, 60_000, kernel_oom=True)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(Fate), st.integers(0, 2 * FAST_MS))))
def test_no_node_retires_that_lets_a_task_succeed_now_and_then(
    events: list[tuple[int, Fate, int]],
) -> None:
    spaced = []
    for place, event in enumerate(events):
        spaced.append(event)
        if place % (FAILURES_IN_A_ROW - 1) == FAILURES_IN_A_ROW - 2:
            spaced.append((0, Fate.SUCCESS, 1))
    assert not _retires(spaced)


def test_limits_that_tasks_ran_into_say_nothing_of_the_node() -> None:
    fates = [Fate.OOM, Fate.TIME_LIMIT, Fate.DISK_LIMIT, Fate.PREEMPTED, Fate.CANCELLED]
    assert not _retires([(n, fates[n % 5], 5) for n in range(MANY)])
