"""What a bundle's manifest says that matters on the way. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from bundle import shape
from bundle.ids import BundleId, StreamId
from bundle.wire.entries import number
from bundle.wire.manifest import Kind, Manifest

_RANK = {Kind.REPORT: 1, Kind.TELEMETRY: 2, Kind.DATA: 3}


class Facts(NamedTuple):
    """One bundle, as it says of itself. `previous` is empty or 32 bytes; `chunks` is a count."""

    id: BundleId
    kind: Kind
    producer: str
    audience: str
    stream: StreamId
    sequence: int
    previous: bytes
    chunks: int


def of(bundle: BundleId, manifest: Manifest) -> Facts:
    """Return the facts of a manifest."""
    m = manifest
    return Facts(
        bundle, m.kind, m.producer, m.audience, m.stream, m.sequence, m.previous, len(m.chunks)
    )


def rank(kind: Kind) -> int:
    """Return what travels first: results and work, reports, telemetry, bulk."""
    return _RANK.get(kind, 0)


def importance(facts: Facts) -> tuple[int, bytes, int, str]:
    """Return what sorts bundles for the way: by rank, then the oldest numbers of each stream."""
    return rank(facts.kind), facts.stream, facts.sequence, facts.id


def to_wire(facts: Facts) -> list[Any]:
    """Return the fields in their order."""
    return [bytes.fromhex(facts.id), facts.kind.value, *facts[2:]]


def from_wire(row: shape.Reader) -> Facts:
    """Read what `to_wire` made. Raises WrongShape."""
    kind, previous = row.text(1), row.bytes(6)
    if kind not in list(Kind):
        raise shape.WrongShape(where=row.where, expected="a bundle's kind", found=kind)
    return Facts(
        BundleId(row.bytes(0, 32).hex()),
        Kind(kind),
        row.text(2),
        row.text(3),
        StreamId(row.bytes(4, 16)),
        number(row, 5),
        previous,
        number(row, 7),
    )
