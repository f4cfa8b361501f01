"""Text from outside, as every engine can keep it."""

from __future__ import annotations


def storable(text: str) -> str:
    """Return a text without NULs, which PostgreSQL keeps out; a picture of one shows where."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}")
