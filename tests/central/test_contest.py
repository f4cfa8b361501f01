"""Segments that may hold one key twice are found; the others cost nothing more."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bundle.fates import Fate
from bundle.ids import LeaseId, PilotRun
from bundle.records import segment as segments
from bundle.records.attempt import Attempt, Usage
from bundle.records.segment import Segment, SegmentHeader
from central.core import segment_decode
from central.core.segment_columns import SegmentColumns
from central.state import contest
from central.state.spans import spans
from central.store.rows import SegmentRow
from tests.central.board import HOST, WORK
from tests.central.memory import DATASET

Keys = list[tuple[int, int, int]]  # (step, job, local)
SEGMENTS = st.lists(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5), st.integers(0, 9)), max_size=4),
    max_size=5,
)


def made(number: int, keys: Keys) -> tuple[SegmentRow, SegmentColumns]:
    """A segment of always the same pilot and lease."""
    lease, run = LeaseId(b"l" * 16), PilotRun(b"r" * 8)
    attempts = tuple(
        Attempt(job, step, 0, local, Fate.SUCCESS, 0, 0, 1, 2, 3, 0, Usage(1, 1, 1, 1, 1, 1))
        for step, job, local in keys
    )
    header = SegmentHeader(run, lease, DATASET, b"d" * 32, WORK, 0, 1, HOST)
    columns = segment_decode.decode(segments.encode(Segment(header, attempts, complete=False)))
    local = [one[2] for one in keys]
    low, high = (min(local), max(local)) if keys else (0, 0)
    about = (b"", 1, 1, number, 1, run, "", len(keys), 0, low, high, 0, False, False)
    return SegmentRow(*about, spans(columns), number), columns


@given(SEGMENTS, st.integers(0, 4))
def test_every_key_that_stands_twice_is_found(keys: list[Keys], known: int) -> None:
    every = [made(number, one) for number, one in enumerate(keys)]
    before = {row.no: row for row, _ in every[:known]}
    bare = [row._replace(spans=()) for row in before.values()]
    found = contest.contested(bare, every[known:], lambda rows: [before[one.no] for one in rows])
    for place, mine in enumerate(keys[known:], known):
        others = set(itertools.chain(*(one for at, one in enumerate(keys) if at != place)))
        if len(set(mine)) < len(mine) or others.intersection(mine):
            assert found[place - known]


def test_numbers_that_come_again_at_other_tasks_are_no_contest() -> None:
    every = [made(n, [(0, job, job % 10) for job in range(10 * n, 10 * n + 10)]) for n in range(9)]
    assert contest.contested([], every, list) == [False] * 9
    nothing = made(9, [])
    assert contest.contested([], [nothing, every[0]], list) == [False, False]
