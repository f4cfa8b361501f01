"""Typed columns read with numpy, where they are evidently sound; one by one, or many together.

A column is [base, planes]: under `columns.WIDTH_MAX` bytes a number, one plane per byte. Whatever
is not evidently sound is left to `bundle.records.columns`, which has the last word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle.records import columns

Numbers = npt.NDArray[np.int64]

ROWS_MAX = 1024  # beyond it a column at a time is as fast, and takes less memory
BASE_MAX = 1 << 61  # below it no sum or difference of two numbers leaves 63 bits
STEP_BYTES_MAX = 5  # of a difference: no sum of ROWS_MAX of them leaves 63 bits


def together(
    several: Sequence[Any], count: int, lows: Numbers, highs: Numbers, differences: int
) -> Numbers | None:
    """Return a row of `count` numbers per column, or None where one is not evidently sound.

    numpy's price is per call: of short segments this makes few.

    Args:
        several: columns as they were decoded; the first ones are columns of differences.
        count: numbers in each, from 1 to ROWS_MAX.
        lows: the least number allowed in each.
        highs: the greatest.
        differences: how many columns of differences there are.
    """
    laid = np.zeros((len(several), count, columns.WIDTH_MAX), np.uint8)
    bases: list[int] = []
    for place, column in enumerate(several):
        if type(column) is not list or len(column) != 2:
            return None
        base, planes = column
        if type(base) is not int or type(planes) is not bytes or not -BASE_MAX < base < BASE_MAX:
            return None
        bases.append(base)
        if planes:
            width, odd = divmod(len(planes), count)
            if odd or width > (STEP_BYTES_MAX if place < differences else columns.WIDTH_MAX - 1):
                return None
            laid[place, :, :width] = np.frombuffer(planes, np.uint8).reshape(width, count).T
    found: Numbers = laid.reshape(len(several), -1).view("<i8").astype(np.int64, copy=False)
    steps = found[:differences]
    steps = (steps >> 1) ^ -(steps & 1)
    based = np.array(bases, np.int64)
    steps[:, 0] += based[:differences]
    np.cumsum(steps, axis=1, out=found[:differences])
    found[differences:] += based[differences:, None]
    if (found.min(axis=1) < lows).any() or (found.max(axis=1) > highs).any():
        return None
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
