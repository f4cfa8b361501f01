"""Which segments may hold attempts of the same keys: those of one pilot that overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from central.core.segment_columns import SegmentColumns
from central.store.rows import SegmentRow, Span

PAIRS_MAX = 64  # overlapping segments that are compared one with another; more all are contested


def contested(
    known: Sequence[SegmentRow],
    fresh: Sequence[tuple[SegmentRow, SegmentColumns]],
    with_spans: Callable[[Sequence[SegmentRow]], list[SegmentRow]],
) -> list[bool]:
    """Return for each new segment whether it, or it and another, may hold one key twice.

    A pilot numbers its attempts. A number may come again at another task, but two segments of one
    pilot and lease whose numbers and tasks both overlap are a salvage beside a seal, or worse.

    Args:
        known: segments of the same leases that are in the store, without their spans.
        fresh: the new ones, with theirs.
        with_spans: gives known ones their spans; asked for few, and seldom.
    """
    by_pilot: dict[tuple[int, bytes], list[tuple[SegmentRow, int]]] = {}
    every = [(row, -1) for row in known] + [(row, n) for n, (row, _) in enumerate(fresh)]
    for row, place in every:
        if row.attempts:
            by_pilot.setdefault((row.lease, row.pilot_run), []).append((row, place))
    found = [not columns.summary.rises and _repeats(columns) for _, columns in fresh]
    for several in by_pilot.values():
        for group in _overlapping(several):
            new = [(row, place) for row, place in group if place >= 0]
            old = [row for row, place in group if place < 0]
            if len(group) <= PAIRS_MAX and new:
                old = with_spans(old) if old else []
            for row, place in new:
                others = (other for other in (*old, *(one for one, _ in new)) if other is not row)
                found[place] |= len(group) > PAIRS_MAX or any(_meet(row, one) for one in others)
    return found


def _repeats(columns: SegmentColumns) -> bool:
    """Return whether a number stands twice in one segment."""
    local = columns["local"]
    return len(np.unique(local)) < len(local)


def _overlapping(
    several: list[tuple[SegmentRow, int]],
) -> Iterator[list[tuple[SegmentRow, int]]]:
    """Yield the groups of two or more that hang together by their ranges of numbers."""
    group: list[tuple[SegmentRow, int]] = []
    highest = -1
    for one in sorted(several, key=lambda one: (one[0].local_min, one[0].local_max)):
        if group and one[0].local_min > highest:
            if len(group) > 1:
                yield group
            group = []
        group.append(one)
        highest = max(highest, one[0].local_max)
    if len(group) > 1:
        yield group


def _meet(row: SegmentRow, other: SegmentRow) -> bool:
    """Return whether two segments may hold attempts at the same tasks, at the same numbers."""
    if row.local_max < other.local_min or other.local_max < row.local_min:
        return False
    spans: dict[tuple[int, int], list[Span]] = {}
    for one in other.spans:
        spans.setdefault((one.step, one.block), []).append(one)
    return any(
        one.job_min <= two.job_max and two.job_min <= one.job_max
        for one in row.spans
        for two in spans.get((one.step, one.block), ())
    )
