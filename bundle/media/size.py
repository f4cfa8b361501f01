"""Sizes as people write them: `700MB`, `2GiB`, `64k`. Pure."""

from __future__ import annotations

import re

_TEXT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*")
_UNITS = {"": 1, "b": 1}
_UNITS |= {f"{one}ib": 1 << (10 * n) for n, one in enumerate("kmgt", 1)}
_UNITS |= {f"{one}b": 10 ** (3 * n) for n, one in enumerate("kmgt", 1)}
_UNITS |= {one: 1 << (10 * n) for n, one in enumerate("kmgt", 1)}


def parse(text: str) -> int:
    """Return bytes: kB MB GB TB count by 1000, KiB MiB GiB TiB and K M G T by 1024.

    Raises ValueError.
    """
    found = _TEXT.fullmatch(text)
    unit = _UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None or (size := int(float(found[1]) * unit)) < 1:
        raise ValueError(f"{text!r} is no size; write for example 700MB or 2GiB")
    return size


def words(size_bytes: int) -> str:
    """Return a size for a person."""
    amount, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{size_bytes} B" if unit == "B" else f"{amount:.1f} {unit}"
