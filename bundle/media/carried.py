"""What was carried already, from one medium to the next. Pure.

A bundle may travel in parts on several media: `places` are the chunks of the round under way, and
`times` counts the rounds that are over. Losing this memory costs repetition, never a bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bundle import canonical, shape
from bundle.errors import PulkError
from bundle.ids import BundleId
from bundle.intervals import IntervalSet
from bundle.limits import STATE_LIMITS
from bundle.records.receipt import intervals


class Carriage(NamedTuple):
    """How often all of a bundle was carried, and which chunks were since then."""

    times: int = 0
    places: IntervalSet = IntervalSet()


NEVER = Carriage()
Carried = Mapping[BundleId, Carriage]


def note(before: Carriage, all_places: IntervalSet, covered: IntervalSet) -> Carriage:
    """Return the carriage after a medium that holds the chunks `covered`."""
    places = before.places | covered
    if not all_places - places:
        return Carriage(before.times + 1)
    return Carriage(before.times, places)


def encode(carried: Carried, kept: Iterable[BundleId]) -> bytes:
    """Return the bytes of the memory; bundles that are not `kept` are forgotten."""
    rows = [
        [bytes.fromhex(one), carried[one].times, carried[one].places.to_wire()]
        for one in sorted(kept)
        if carried.get(one, NEVER) != NEVER
    ]
    return canonical.encode({"carried": rows})


def decode(raw: bytes) -> dict[BundleId, Carriage]:
    """Read the memory; what can't be read is forgotten."""
    try:
        value = shape.Reader.of(canonical.decode(raw, STATE_LIMITS), "carried")
        return {
            BundleId(row.bytes(0, 32).hex()): Carriage(row.count(1), intervals(row, 2))
            for row in value.readers("carried")
        }
    except PulkError:
        return {}
