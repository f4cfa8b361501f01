"""Quantities as people write them: `0.2s`, `2h`, `200MiB`, `1.5GB`."""

from __future__ import annotations

import math
import re
from fractions import Fraction

MIB = 1 << 20
GIB = 1 << 30

_SECONDS = {
    "us": Fraction(1, 1_000_000),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86_400),
}
_BYTES = {"B": 1} | {f"{p}B": 1000**n for n, p in enumerate(("k", "M", "G", "T"), 1)}
_BYTES |= {f"{p}iB": 1024**n for n, p in enumerate(("K", "M", "G", "T"), 1)}
_BYTES |= {"KB": 1000}
_DIGITS = r"[0-9]{1,18}(?:\.[0-9]{1,18})?"
_TEXT = re.compile(rf"(-?{_DIGITS})\s*([A-Za-z]{{1,3}})")
DURATION = rf"^\s*{_DIGITS}\s*(?:{'|'.join(_SECONDS)})\s*$"  # as JSON Schema has it
SIZE = rf"^\s*{_DIGITS}\s*(?:{'|'.join(_BYTES)})\s*$"
_LARGEST = 1 << 62


def milliseconds(value: object, *, bare: str) -> int:
    """Return a duration in milliseconds, rounded to the nearest. Raises ValueError.

    Args:
        value: text with a unit, or a number.
        bare: what a number without unit means: `s`, or empty where a unit must be written.
    """
    amount = _amount(value, dict(_SECONDS), bare, "200ms, 0.5s, 30min, 2h or 1d")
    return _whole(round(amount * 1000))


def size_bytes(value: object, *, bare: str) -> int:
    """Return a size in bytes, rounded up. Raises ValueError.

    Args:
        value: text with a unit, or a number.
        bare: the unit of a number without one.
    """
    units = {name: Fraction(number) for name, number in _BYTES.items()}
    return _whole(math.ceil(_amount(value, units, bare, "100B, 20kB, 200MiB or 1.5GiB")))


def memory_mib(value: object) -> int:
    """Return memory in MiB, rounded up; a bare number is IceProd's GB, 2^30. Raises ValueError."""
    return -(-size_bytes(value, bare="GiB") // MIB)


def milli(value: object) -> int:
    """Return a number of cores or shares in thousandths. Raises ValueError."""
    if isinstance(value, str):
        raise ValueError("write a number without quotes")
    return _whole(round(_number(value) * 1000))


def _amount(value: object, units: dict[str, Fraction], bare: str, examples: str) -> Fraction:
    if not isinstance(value, str):
        number = _number(value)
        if not bare:
            raise ValueError(f"a unit is missing: write for example {examples}")
        return number * units[bare]
    match = _TEXT.fullmatch(value.strip())
    if match is None or match[2] not in units:
        raise ValueError(f"{value[:50]!r} is not a quantity: write for example {examples}")
    return _number(Fraction(match[1])) * units[match[2]]


def _number(value: object) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, float, Fraction)):
        raise ValueError(f"a {type(value).__name__} is not a number or a quantity")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not finite")
    if value < 0:
        raise ValueError(f"{float(value):g} is negative")
    return Fraction(value)


def _whole(number: int) -> int:
    if number > _LARGEST:
        raise ValueError("the quantity is too large")
    return number
