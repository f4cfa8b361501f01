"""Sets of whole numbers as sorted, disjoint, half-open intervals."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter

_first = itemgetter(0)


@dataclass(frozen=True, slots=True)
class IntervalSet:
    """A set of integers >= 0; equal sets are equal values. `spans` holds (first, past_last)."""

    spans: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, numbers: Iterable[int]) -> IntervalSet:
        """Make the set of the given numbers, in any order, repeats allowed."""
        return cls.spanning((number, number + 1) for number in numbers)

    @classmethod
    def spanning(cls, spans: Iterable[tuple[int, int]]) -> IntervalSet:
        """Make the union of half-open spans, in any order, overlaps allowed."""
        merged: list[tuple[int, int]] = []
        for first, past in sorted(span for span in spans if span[0] < span[1]):
            if merged and first <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], past))
            else:
                merged.append((first, past))
        return cls(tuple(merged))

    @classmethod
    def from_wire(cls, runs: Iterable[Iterable[int]]) -> IntervalSet:
        """Read `[[first, count], ...]`."""
        return cls.spanning((first, first + count) for first, count in runs)

    def to_wire(self) -> list[list[int]]:
        """Return `[[first, count], ...]`, sorted and disjoint."""
        return [[first, past - first] for first, past in self.spans]

    def __or__(self, other: IntervalSet) -> IntervalSet:
        return IntervalSet.spanning((*self.spans, *other.spans))

    def __sub__(self, other: IntervalSet) -> IntervalSet:
        left: list[tuple[int, int]] = []
        holes = iter(other.spans)
        hole = next(holes, None)
        for first, past in self.spans:
            at = first
            while hole is not None and hole[1] <= at:
                hole = next(holes, None)
            while hole is not None and hole[0] < past:
                if at < hole[0]:
                    left.append((at, hole[0]))
                at = max(at, hole[1])
                if hole[1] >= past:
                    break
                hole = next(holes, None)
            if at < past:
                left.append((at, past))
        return IntervalSet(tuple(left))

    def __and__(self, other: IntervalSet) -> IntervalSet:
        return self - (self - other)

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int):
            return False
        at = bisect_right(self.spans, number, key=_first)
        return at > 0 and number < self.spans[at - 1][1]

    def __len__(self) -> int:
        return sum(past - first for first, past in self.spans)

    def __iter__(self) -> Iterator[int]:
        for first, past in self.spans:
            yield from range(first, past)

    def within(self, first: int, past: int) -> IntervalSet:
        """Return the members from `first` up to `past`, in time of how many spans they make."""
        at = bisect_right(self.spans, first, key=_first) - 1
        if at < 0 or self.spans[at][1] <= first:
            at += 1
        end = bisect_left(self.spans, past, key=_first)
        if at >= end or first >= past:
            return IntervalSet()
        its = list(self.spans[at:end])
        its[0] = (max(its[0][0], first), its[0][1])
        its[-1] = (its[-1][0], min(its[-1][1], past))
        return IntervalSet(tuple(its))

    def take(self, count: int) -> IntervalSet:
        """Return the `count` smallest members (fewer where there are fewer)."""
        taken: list[tuple[int, int]] = []
        for first, past in self.spans:
            if count <= 0:
                break
            taken.append((first, min(past, first + count)))
            count -= past - first
        return IntervalSet.spanning(taken)

    def gaps(self) -> IntervalSet:
        """Return the numbers from 0 up to the largest member that are missing."""
        if not self.spans:
            return IntervalSet()
        return IntervalSet(((0, self.spans[-1][1]),)) - self
