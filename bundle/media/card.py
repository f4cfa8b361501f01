"""The machine's card on a medium: what was written there. Unsigned, so never believed. Pure.

It serves reading back alone: which files, how large, which SHA-256. What a bundle is, its own
signature says.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from bundle import canonical, shape
from bundle.errors import PulkError
from bundle.intervals import IntervalSet
from bundle.limits import MIB, ParseLimits
from bundle.media import facts as manifests
from bundle.media.errors import NoCard
from bundle.media.facts import Facts
from bundle.records.receipt import intervals

CARD = "pulk-card"
LABEL = "PULK.TXT"
LIMITS = ParseLimits(32 * MIB, 4_000_000)
ROW_BYTES = 320  # about what a file adds to both cards
_VERSION = 1
_NAME = re.compile(r"[0-9a-z][0-9a-z.-]{0,127}")


class Row(NamedTuple):
    """A file on the medium; `keep` None: the bundle as it was at the source, else these chunks."""

    name: str
    size_bytes: int
    sha256: bytes
    facts: Facts
    keep: IntervalSet | None


class Absent(NamedTuple):
    """A bundle that is not on the medium, or of which these chunks are not."""

    facts: Facts
    places: IntervalSet


class Card(NamedTuple):
    """Everything that was written to a medium, by whom, and what must come with another one."""

    by: str
    made_us: int
    rows: tuple[Row, ...]
    absent: tuple[Absent, ...] = ()


def encode(card: Card) -> bytes:
    """Return the card's bytes."""
    return canonical.encode(
        {
            "version": _VERSION,
            "by": card.by,
            "made_us": card.made_us,
            "files": [_row_to_wire(row) for row in card.rows],
            "absent": [[manifests.to_wire(one.facts), one.places.to_wire()] for one in card.absent],
        }
    )


def decode(raw: bytes, *, where: str) -> Card:
    """Read a card. Raises NoCard where it is none."""
    try:
        value = shape.Reader.of(canonical.decode(raw, LIMITS), "card")
        if value.count("version") != _VERSION:
            raise NoCard(where=where, reason="it was written by another version")
        return Card(
            value.text("by"),
            value.count("made_us"),
            tuple(_row_from_wire(row) for row in value.readers("files")),
            tuple(
                Absent(manifests.from_wire(row.reader(0)), intervals(row, 1))
                for row in value.readers("absent")
            ),
        )
    except NoCard:
        raise
    except PulkError as error:
        raise NoCard(where=where, reason=error.text()) from error


def _row_to_wire(row: Row) -> list[Any]:
    keep = None if row.keep is None else row.keep.to_wire()
    return [row.name, row.size_bytes, row.sha256, manifests.to_wire(row.facts), keep]


def _row_from_wire(row: shape.Reader) -> Row:
    name = row.text(0)
    if not _NAME.fullmatch(name):
        raise shape.WrongShape(where=row.where, expected="a file name of ours", found=name)
    keep = None if row.get(4) is None else intervals(row, 4)
    facts = manifests.from_wire(row.reader(3))
    return Row(name, row.count(1), row.bytes(2, 32), facts, keep)
