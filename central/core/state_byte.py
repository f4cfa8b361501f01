"""One byte per touched task: what the facts say of it, not the verdict; and verdicts from bytes.

    128 TOUCHED  something happened to it; it is in the counters of its step
     64 ROW      its facts don't fit a byte: it has a row and attempts of its own
     32 LEASED   a live lease covers it (the planner's cache: not a fact)
      8 DONE     a success counts
    0-7 counted failures of its generation while it is not DONE, exact up to 6; of one that is DONE:
      1 PINNED   a pin agrees with the one success there is
      2 TWICE    more than one success counts, and nothing is built upon the task

Zero stands for a task that nothing happened to. A task with a ROW has DONE where its verdict is
done; the rest of its verdict is in the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from bundle.intervals import IntervalSet
from central.core.facts import Verdict

Bytes = npt.NDArray[np.uint8]
Jobs = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

TOUCHED: Final = 128
ROW: Final = 64
LEASED: Final = 32
DONE: Final = 8
FAILURES: Final = 7
PINNED: Final = 1
TWICE: Final = 2
FAILURES_EXACT_MAX: Final = 6

BLOCK_BITS: Final = 16
BLOCK_JOBS: Final = 1 << BLOCK_BITS  # jobs of one step whose bytes lie together

VERDICTS: Final = tuple(Verdict)
HELD, READY, IS_LEASED, IS_DONE, FAILED, CANCELLED, REMOVED = range(len(VERDICTS))
IN_ROW: Final = len(VERDICTS)  # the row knows the verdict

SUSPENDED_FLAG: Final = 1
CANCELLED_FLAG: Final = 2
REMOVED_FLAG: Final = 4


def done(states: Bytes, flags: Bytes) -> Mask:
    """Return which tasks are done.

    Args:
        states: a byte per task.
        flags: what controls say of each (`*_FLAG`).
    """
    is_done: Mask = (states & DONE) != 0
    if not flags.any():
        return is_done
    in_row = (states & ROW) != 0
    stays = ((flags & CANCELLED_FLAG) == 0) | ((states & PINNED) != 0)
    is_done &= in_row | (((flags & REMOVED_FLAG) == 0) & stays)
    return is_done


def verdicts(states: Bytes, failures_max: int, flags: Bytes, parents_done: Mask) -> Bytes:
    """Return the verdict of each task as its place in `Verdict`; IN_ROW where the row knows it.

    Args:
        states: a byte per task.
        failures_max: counted failures at which a task has failed.
        flags: what controls say of each (`*_FLAG`).
        parents_done: whether all parents of each are done.
    """
    found = parents_done.astype(np.uint8)  # HELD or READY
    has_done = (states & DONE) != 0
    found[(states & LEASED) != 0] = IS_LEASED
    if flags.any():
        found[((flags & SUSPENDED_FLAG) != 0) & (found == READY)] = HELD
    found[(states & FAILURES) >= failures_max] = FAILED
    found[has_done] = IS_DONE
    if flags.any():
        pinned = has_done & ((states & PINNED) != 0)
        found[((flags & CANCELLED_FLAG) != 0) & ~pinned] = CANCELLED
        found[(flags & REMOVED_FLAG) != 0] = REMOVED
    in_row = (states & ROW) != 0
    if in_row.any():
        found[in_row] = np.where(has_done[in_row], IS_DONE, IN_ROW)
    return found


def inside(numbers: IntervalSet, jobs: Jobs) -> Mask:
    """Return which jobs are in a set."""
    if len(numbers.spans) == 1:
        low, past = numbers.spans[0]
        return np.asarray((jobs >= low) & (jobs < past))
    bounds = np.array(numbers.spans, np.int64).reshape(-1, 2)
    if not len(bounds):
        return np.zeros(len(jobs), np.bool_)
    at = np.searchsorted(bounds[:, 0], jobs, side="right") - 1
    found: Mask = (at >= 0) & (jobs < bounds[np.maximum(at, 0), 1])
    return found


def jobs_of(spans: Iterable[tuple[int, int]]) -> Jobs:
    """Return the jobs of half-open, ascending, disjoint spans."""
    bounds = np.array(list(spans), np.int64).reshape(-1, 2)
    counts = bounds[:, 1] - bounds[:, 0]
    if len(bounds) == 1:
        return np.arange(int(bounds[0, 0]), int(bounds[0, 1]))
    ends = np.cumsum(counts)
    found: Jobs = np.repeat(bounds[:, 0] - (ends - counts), counts)
    return found + np.arange(len(found))


def blocks_within(jobs: IntervalSet) -> Iterator[int]:
    """Yield the blocks that jobs lie in, ascending, each once."""
    last = -1
    for first, past in jobs.spans:
        yield from range(max(last + 1, first >> BLOCK_BITS), ((past - 1) >> BLOCK_BITS) + 1)
        last = (past - 1) >> BLOCK_BITS


def spans_of(jobs: Jobs) -> list[tuple[int, int]]:
    """Return half-open spans that hold exactly the given ascending jobs."""
    if not len(jobs):
        return []
    edges = np.flatnonzero(jobs[1:] != jobs[:-1] + 1) + 1
    first = jobs[np.concatenate(([0], edges))]
    last = jobs[np.concatenate((edges - 1, [len(jobs) - 1]))]
    return list(zip(first.tolist(), (last + 1).tolist(), strict=True))
