"""Typed columns: one field of many records as a base and planes of bytes.

The k-th plane holds the k-th byte, least significant first, of every number, so that bytes that
are alike lie together and compress. docs/bundle-format.md, "Typed columns", is the specification.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate
from operator import sub
from typing import Any

from bundle import shape
from bundle.canonical import NotEncodable

COUNT_MAX = 2**63 - 1
SIGNED_MIN = -(2**63)
WIDTH_MAX = 8  # bytes a number
_MANY = 1 << 64


def wrapped(numbers: list[int]) -> list[int]:
    """Return numbers modulo 2^64, each as the signed 64 bit number that it is then."""
    if numbers and (max(numbers) > COUNT_MAX or min(numbers) < SIGNED_MIN):
        return [(one - SIGNED_MIN) % _MANY + SIGNED_MIN for one in numbers]
    return numbers


def require_range(values: Sequence[int], name: str, low: int = 0) -> tuple[int, int]:
    """Return the smallest and the largest value. Raises NotEncodable unless low <= all < 2^63."""
    least, most = min(values, default=0), max(values, default=0)
    if least < low or most > COUNT_MAX:
        reason = f"{name} goes from {least} to {most}, allowed are {low} to {COUNT_MAX}"
        raise NotEncodable(where=name, reason=reason)
    return least, most


def pack(values: Sequence[int], name: str, *, low: int = 0) -> list[Any]:
    """Return a plain column: the smallest value, and planes of what each has beyond it.

    Raises NotEncodable where a value is below `low` or above 2^63-1.
    """
    base, top = require_range(values, name, low)
    return [base, _planes([one - base for one in values] if base else values, top - base)]


def pack_differences(values: Sequence[int], name: str, *, width_min: int = 0) -> list[Any]:
    """Return a column of differences: the first value, and planes of each one's step, zig-zag.

    Raises NotEncodable where a value is no count.
    """
    require_range(values, name)
    if not values:
        return [0, b""]
    steps = map(sub, values[1:], values)
    zigzag = [0, *[2 * one if one >= 0 else -2 * one - 1 for one in steps]]
    return [values[0], _planes(zigzag, max(zigzag), width_min)]


def numbers(
    columns: shape.Reader, name: str | int, count: int, *, low: int = 0, high: int = COUNT_MAX
) -> Sequence[int]:
    """Read a plain column of `count` numbers from `low` to `high`. Raises WrongShape."""
    base, found = _read(columns, name, count)
    if count and (base < low or base + max(found) > high):
        _refuse(columns, name, f"numbers from {low} to {high}", f"{base} to {base + max(found)}")
    return [base + one for one in found] if base else found


def differences(
    columns: shape.Reader,
    name: str | int,
    count: int,
    *,
    high: int = COUNT_MAX,
    width_min: int = 0,
) -> Sequence[int]:
    """Read a column of `count` differences between numbers from 0 to `high`. Raises WrongShape."""
    base, found = _read(columns, name, count, width_min)
    if not count:
        return found
    expected = f"numbers from 0 to {high}"
    if not 0 <= base <= high or max(found) > 2 * high:
        _refuse(columns, name, expected, f"{base} and steps of up to {max(found) // 2}")
    steps = [one >> 1 if not one & 1 else ~(one >> 1) for one in found]
    steps[0] += base
    values = list(accumulate(steps))
    if min(values) < 0 or max(values) > high:
        _refuse(columns, name, expected, f"{min(values)} to {max(values)}")
    return values


def several(packed: shape.Reader, name: str, length: int) -> shape.Reader:
    """Return a reader of so many columns under one name. Raises WrongShape."""
    found = packed.reader(name)
    if type(found.value) is not list or len(found.value) != length:
        expected, values = f"an array of {length} columns", f"{len(found.value)} values"
        raise shape.WrongShape(where=found.where, expected=expected, found=values)
    return found


def require_counts(values: Sequence[int], where: str) -> None:
    """Raise WrongShape unless all values are counts."""
    if values and (min(values) < 0 or max(values) > COUNT_MAX):
        found = f"{min(values)} to {max(values)}"
        raise shape.WrongShape(where=where, expected=f"numbers from 0 to {COUNT_MAX}", found=found)


def _read(
    columns: shape.Reader, name: str | int, count: int, width_min: int = 0
) -> tuple[int, Sequence[int]]:
    """Return base and the `count` unsigned numbers of the planes."""
    column = columns.reader(name)
    base, planes = column.integer(0), column.bytes(1)
    if type(column.value) is not list or len(column.value) != 2:
        _refuse(columns, name, "an array of base and planes", f"{len(column.value)} values")
    if not count:
        if base or planes:
            _refuse(columns, name, "base 0 and no planes", f"{base} and {len(planes)} bytes")
        return base, planes
    width, odd = divmod(len(planes), count)
    if odd or not width_min <= width <= WIDTH_MAX:
        expected = f"{width_min} to {WIDTH_MAX} planes of {count} bytes"
        _refuse(columns, name, expected, f"{len(planes)} bytes")
    if width == 0:
        return base, bytes(count)
    if width == 1:
        return base, planes
    laid = bytearray(WIDTH_MAX * count)
    for place in range(width):
        laid[place::WIDTH_MAX] = planes[place * count : (place + 1) * count]
    found = array("Q", laid)
    if sys.byteorder == "big":
        found.byteswap()
    return base, found


def _planes(unsigned: Sequence[int], top: int, width_min: int = 0) -> bytes:
    """Return the planes of numbers from 0 to `top` < 2^64, as few as hold the largest."""
    width = max(width_min, (top.bit_length() + 7) // 8)
    if width == 0:
        return b""
    if width == 1:
        return bytes(unsigned)
    laid = array("Q", unsigned)
    if sys.byteorder == "big":
        laid.byteswap()
    raw = laid.tobytes()
    return b"".join([raw[place::WIDTH_MAX] for place in range(width)])


def _refuse(columns: shape.Reader, name: str | int, expected: str, found: str) -> None:
    where = f"{columns.where}[{name}]" if isinstance(name, int) else f"{columns.where}.{name}"
    raise shape.WrongShape(where=where, expected=expected, found=found)
