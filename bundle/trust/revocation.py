"""Revocation: a key that is no longer trusted, and which of its bundles still count.

A revoked key stays listed in its role, so that what is kept of it can still be verified. A kept
bundle is named by its number in its stream and, for the numbers that are pinned, by its id: whoever
holds a stolen key can sign another bundle of a kept number, but not one with its id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bundle import shape
from bundle.ids import DIGEST_BYTES, StreamId
from bundle.intervals import IntervalSet

KEPT_IDS_MAX = 16_384  # of all revocations of a trust file together


@dataclass(frozen=True, slots=True)
class Kept:
    """Numbers of a stream that still count. `ids`: 32 bytes for each of them in ascending order.

    Or 32 bytes in all: the id of the last one, which alone is pinned; the others count whatever
    they contain.
    """

    stream: StreamId
    sequences: IntervalSet
    ids: bytes
    _pinned: frozenset[bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Split the ids, once."""
        object.__setattr__(self, "_pinned", frozenset(_split(self.ids)))

    @property
    def count(self) -> int:
        """How many numbers are kept."""
        return sum(past - first for first, past in self.sequences.spans)

    @property
    def last(self) -> int:
        """The last kept number; -1 where none is."""
        return self.sequences.spans[-1][1] - 1 if self.sequences.spans else -1

    def holds(self, stream: StreamId, sequence: int, bundle: bytes) -> bool:
        """Return whether a bundle of that place and id (32 bytes) still counts."""
        if stream != self.stream or sequence not in self.sequences:
            return False
        if len(self.ids) == DIGEST_BYTES and sequence != self.last:
            return True
        return bundle in self._pinned  # an id names its stream and number too

    def problem(self) -> str:
        """Return why it can't stand in a trust file, or nothing."""
        if not self.sequences.spans:
            return "a revocation keeps an empty set of a stream"
        if len(self.ids) not in (DIGEST_BYTES, DIGEST_BYTES * self.count):
            return "a revocation pins neither the last kept number nor each of them"
        return ""


@dataclass(frozen=True, slots=True)
class Revocation:
    """A key that is no longer trusted, and what is kept of it.

    Of a site's or central's key: what it signed. Of a registrar's: what sites signed whose
    certificate is by it.
    """

    key: bytes
    kept: tuple[Kept, ...] = ()

    def keeps(self, stream: StreamId, sequence: int, bundle: bytes) -> bool:
        """Return whether a bundle of that place and id still counts."""
        return any(one.holds(stream, sequence, bundle) for one in self.kept)

    def ids(self) -> int:
        """Return how many ids it pins."""
        return sum(len(one.ids) // DIGEST_BYTES for one in self.kept)


def pinned(stream: StreamId, ids: Iterable[tuple[int, bytes]]) -> tuple[Kept, ...]:
    """Return what keeps exactly these (number, id) of a stream; two ids of one number make two."""
    layers: list[dict[int, bytes]] = []
    for number, bundle in sorted(ids):
        layer = next((one for one in layers if number not in one), None)
        if layer is None:
            layers.append(layer := {})
        layer[number] = bundle
    return tuple(
        Kept(stream, IntervalSet.of(layer), b"".join(layer[number] for number in sorted(layer)))
        for layer in layers
    )


def headed(stream: StreamId, ids: Iterable[tuple[int, bytes]]) -> tuple[Kept, ...]:
    """Return what keeps all numbers of a stream from the first to the last, which is pinned."""
    by_number = dict(ids)
    first, last = min(by_number), max(by_number)
    return (Kept(stream, IntervalSet(((first, last + 1),)), by_number[last]),)


def to_wire(revocations: Iterable[Revocation]) -> list[object]:
    """Return `[[key, [[stream, runs, ids], ...]], ...]`."""
    return [
        [one.key, [[kept.stream, kept.sequences.to_wire(), kept.ids] for kept in one.kept]]
        for one in revocations
    ]


def from_wire(row: shape.Reader) -> Revocation:
    """Read one revocation. Raises WrongShape."""

    def kept(one: shape.Reader) -> Kept:
        runs = [(run.count(0), run.count(1)) for run in one.readers(1)]
        return Kept(StreamId(one.bytes(0, 16)), IntervalSet.from_wire(runs), one.bytes(2))

    return Revocation(row.bytes(0, 32), tuple(kept(one) for one in row.readers(1)))


def _split(ids: bytes) -> list[bytes]:
    return [ids[at : at + DIGEST_BYTES] for at in range(0, len(ids), DIGEST_BYTES)]
