"""How long ago, in words for people: one unit, rounded down."""

from __future__ import annotations

_UNITS = ((86_400, "days"), (3600, "hours"), (60, "min"))


def age(seconds: int) -> str:
    """Return a time span in words; what lies in the future is no time at all."""
    for size, word in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds // size} {word}"
    return f"{max(0, seconds)} s"
