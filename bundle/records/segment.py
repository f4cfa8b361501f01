"""A segment: a pilot's sealed, immutable run of attempts at one lease; it counts exactly once.

The same function builds it for the pilot that seals and for the relay that salvages a journal, so
that both give the same attempts the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bundle import canonical, shape
from bundle.digest import digest
from bundle.fates import FATES
from bundle.ids import BundleId, DatasetId, LeaseId, PilotRun
from bundle.limits import SEGMENT_LIMITS
from bundle.records import attempts
from bundle.records import host as hosts
from bundle.records.attempt import Attempt, Usage
from bundle.records.host import Host

_T = TypeVar("_T")

ATTEMPT_NUMBERS = (
    "job",
    "step",
    "generation",
    "local",
    "exit_code",
    "signal",
    "started_us",
    "started_mono_us",
    "ended_mono_us",
    "slot",
)
USAGE_NUMBERS = Usage.__slots__
COLUMNS = attempts.COLUMNS


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What all attempts of a segment share. `turn` counts how often the shard was claimed."""

    pilot_run: PilotRun
    lease: LeaseId
    dataset: DatasetId
    dataset_digest: bytes
    work: BundleId
    shard: int
    turn: int
    host: Host


@dataclass(frozen=True, slots=True)
class Segment:
    """A header and its attempts. `complete`: nothing of the shard is left to do."""

    header: SegmentHeader
    attempts: tuple[Attempt, ...]
    complete: bool
    salvaged_at: int | None = None  # the journal's cut point in bytes, where a relay salvaged it


def segment_digest(raw: bytes) -> bytes:
    """Return the identity of a segment, equal to the digest of its chunk."""
    return digest("chunk.segment", raw)


def encode(segment: Segment) -> bytes:
    """Return the canonical bytes: typed columns, digests and texts once in tables.

    Raises NotEncodable where a number is no count or there is more than a reader takes.
    """
    return canonical.encode(
        {
            "header": header_to_wire(segment.header),
            "complete": segment.complete,
            "salvaged_at": segment.salvaged_at,
            **attempts.to_wire(segment.attempts),
        }
    )


def decode(raw: bytes) -> Segment:
    """Read a segment's bytes, column by column. Raises NotCanonical or WrongShape."""
    value = shape.Reader.of(canonical.decode(raw, SEGMENT_LIMITS, where="segment"), "segment")
    salvaged_at = value.count("salvaged_at") if value.has("salvaged_at") else None
    header = header_from_wire(value.reader("header"))
    return Segment(header, attempts.from_wire(value), value.flag("complete"), salvaged_at)


def row_to_wire(attempt: Attempt) -> dict[str, Any]:
    """Return one attempt alone as plain values, as a journal records it."""
    row: dict[str, Any] = {name: getattr(attempt, name) for name in ATTEMPT_NUMBERS}
    row |= {name: getattr(attempt.usage, name) for name in USAGE_NUMBERS}
    row["fate"] = FATES.index(attempt.fate)
    row["consumed"] = list(attempt.consumed)
    row["outputs"] = [list(one) for one in attempt.outputs]
    row["software"], row["evidence"] = attempt.software, attempt.evidence
    return row


def row_from_wire(row: shape.Reader) -> Attempt:
    """Read one attempt alone. Raises WrongShape."""
    consumed = shape.Reader(row.rows("consumed"), f"{row.where}.consumed")
    return _made(
        row,
        tuple(consumed.bytes(place, 32) for place in range(len(consumed.value))),
        tuple((one.bytes(0, 32), one.count(1)) for one in row.readers("outputs")),
        row.text("software"),
        row.text("evidence"),
    )


def header_to_wire(header: SegmentHeader) -> dict[str, Any]:
    """Return the header as plain values."""
    return {
        "pilot_run": header.pilot_run,
        "lease": header.lease,
        "dataset": header.dataset,
        "dataset_digest": header.dataset_digest,
        "work": header.work,
        "shard": header.shard,
        "turn": header.turn,
        "host": hosts.to_wire(header.host),
    }


def header_from_wire(value: shape.Reader) -> SegmentHeader:
    """Read a header. Raises WrongShape."""
    return SegmentHeader(
        pilot_run=PilotRun(value.bytes("pilot_run", 8)),
        lease=LeaseId(value.bytes("lease", 16)),
        dataset=DatasetId(value.text("dataset")),
        dataset_digest=value.bytes("dataset_digest", 32),
        work=BundleId(value.text("work")),
        shard=value.count("shard"),
        turn=value.count("turn"),
        host=hosts.from_wire(value.reader("host")),
    )


def _made(
    row: shape.Reader,
    consumed: tuple[bytes, ...],
    outputs: tuple[tuple[bytes, int], ...],
    software: str,
    evidence: str,
) -> Attempt:
    numbers = {name: row.count(name) for name in ATTEMPT_NUMBERS if name != "exit_code"}
    return Attempt(
        **numbers,
        exit_code=row.integer("exit_code"),
        fate=_listed(FATES, row.count("fate"), row),
        usage=Usage(**{name: row.count(name) for name in USAGE_NUMBERS}),
        consumed=consumed,
        outputs=outputs,
        software=software,
        evidence=evidence,
    )


def _listed(table: Sequence[_T], place: int, row: shape.Reader) -> _T:
    if place >= len(table):
        found = f"{place} of {len(table)}"
        raise shape.WrongShape(where=row.where, expected="a place inside a table", found=found)
    return table[place]
