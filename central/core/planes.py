"""Typed columns read with numpy, where they are evidently sound: one, or many laid out together.

A column is [base, planes]: under `columns.WIDTH_MAX` bytes a number, one plane per byte. Whatever
is not evidently sound is left to `bundle.records.columns`, which has the last word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bundle.records import columns

Numbers = npt.NDArray[np.int64]

BASE_MAX = 1 << 61  # below it no sum or difference of two numbers leaves 63 bits


class Spread(NamedTuple):
    """The numbers of many columns, one column after the other, and each one's base."""

    counts: Numbers
    bases: Numbers
    values: Numbers  # without the bases

    def plain(self) -> Numbers:
        """Return the numbers of plain columns."""
        return self.values + np.repeat(self.bases, self.counts)

    def summed(self) -> Numbers:
        """Return the numbers of columns of differences."""
        steps = (self.values >> 1) ^ -(self.values & 1)
        some = self.counts > 0
        first = (np.cumsum(self.counts) - self.counts)[some]
        steps[first] += self.bases[some]
        sums: Numbers = np.cumsum(steps)  # over the ends of columns too, modulo 2^64
        before = sums[first] - steps[first]
        found: Numbers = sums - np.repeat(before, self.counts[some])
        return found

    def part(self, low: int, past: int) -> Spread:
        """Return some of the columns."""
        ends = np.cumsum(self.counts)
        start, end = (int(ends[at - 1]) if at else 0 for at in (low, past))
        return Spread(self.counts[low:past], self.bases[low:past], self.values[start:end])


def spread(
    several: Sequence[Any], counts: Numbers, widths_min: Numbers, widths_max: Numbers
) -> Spread | None:
    """Return the numbers of many columns, or None where the form of one is not evidently sound.

    numpy's price is per call: of short columns this makes as many as of one.

    Args:
        several: columns as they were decoded.
        counts: numbers in each; one of none is [0, b""].
        widths_min: the fewest planes each may have.
        widths_max: the most, below `columns.WIDTH_MAX`.
    """
    if set(map(type, several)) != {list} or set(map(len, several)) != {2}:
        return None
    bases, planes = zip(*several, strict=True)
    if set(map(type, bases)) != {int} or set(map(type, planes)) != {bytes}:
        return None
    if min(bases) <= -BASE_MAX or max(bases) >= BASE_MAX:
        return None
    base = np.array(bases, np.int64)
    sizes = np.fromiter(map(len, planes), np.int64, len(planes))
    widths, odd = np.divmod(sizes, np.maximum(counts, 1))
    empty = counts == 0
    if odd.any() or (widths > widths_max).any() or (widths < widths_min)[~empty].any():
        return None
    if sizes[empty].any() or base[empty].any():
        return None
    return Spread(counts, base, _gathered(b"".join(planes), sizes, widths, counts))


def _gathered(raw: bytes, sizes: Numbers, widths: Numbers, counts: Numbers) -> Numbers:
    """Return the numbers whose planes lie one after the other in `raw`."""
    laid = np.frombuffer(raw, np.uint8)
    source, target = np.cumsum(sizes) - sizes, np.cumsum(counts) - counts
    found = np.zeros(int(counts.sum()), np.int64)
    for place in range(int(widths.max(initial=0))):
        its = np.flatnonzero(widths > place)
        many = counts[its]
        along = np.arange(int(many.sum()))
        before = np.cumsum(many) - many
        values = laid[along + np.repeat(source[its] + place * many - before, many)]
        found[along + np.repeat(target[its] - before, many)] |= values.astype(np.int64) << 8 * place
    return found


def single(column: Any, count: int, width_min: int) -> tuple[int, Numbers, int] | None:
    """Return base, numbers, and what none of these is beyond, of an evidently sound column."""
    if type(column) is not list or len(column) != 2 or not count:
        return None
    base, planes = column
    if type(base) is not int or type(planes) is not bytes:
        return None
    width, odd = divmod(len(planes), count)
    if odd or not width_min <= width < columns.WIDTH_MAX:
        return None
    if width == 0:
        return base, np.zeros(count, np.int64), 0
    beyond = (1 << 8 * width) - 1
    raw = np.frombuffer(planes, np.uint8)
    if width == 1:
        return base, raw.astype(np.int64), beyond
    laid = np.zeros((count, columns.WIDTH_MAX), np.uint8)
    laid[:, :width] = raw.reshape(width, count).T
    found: Numbers = laid.reshape(-1).view("<i8").astype(np.int64, copy=False)
    return base, found, beyond
