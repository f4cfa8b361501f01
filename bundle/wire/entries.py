"""What a manifest lists: chunks, segments and rules, with their places on the wire."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bundle import shape
from bundle.ids import BundleId, LeaseId, PilotRun
from bundle.limits import (
    DATA_CHUNK_BYTES_MAX,
    DOCUMENT_LIMITS,
    ENVELOPE_LIMITS,
    LEASE_LIMITS,
    NAME_CHARS_MAX,
    SEAL_LIMITS,
    SEGMENT_LIMITS,
    SMALL_LIMITS,
    TELEMETRY_LIMITS,
)
from bundle.records.rules import AMOUNT_MAX, UNKNOWN, Maximum

DATA = "data"  # a whole file
PIECE = "piece"  # one part of a file that is too large for one chunk
RECORD_CHUNK_BYTES_MAX = SEAL_LIMITS.bytes_max  # raw; a chunk of records is read into memory
RAW_BYTES_MAX = {
    DATA: DATA_CHUNK_BYTES_MAX,
    PIECE: DATA_CHUNK_BYTES_MAX,
    "dataset": DOCUMENT_LIMITS.bytes_max,
    "lease": LEASE_LIMITS.bytes_max,
    "segment": SEGMENT_LIMITS.bytes_max,
    "telemetry": TELEMETRY_LIMITS.bytes_max,
    "work-manifest": ENVELOPE_LIMITS.bytes_max,
    "report": SMALL_LIMITS.bytes_max,
    "cosignature": SMALL_LIMITS.bytes_max,
}  # by kind: what no reader of that kind would take is refused before it is expanded
NUMBER_MAX = 2**63 - 1
NETWORKS = ("none", "any")

_CHUNK_KIND = re.compile(r"[a-z][a-z0-9.-]{0,31}")
_PIECE_NAME = re.compile(r"([0-9a-f]{64})\.(0|[1-9][0-9]{0,7})")
_BUNDLE_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ChunkEntry:
    """One chunk: `digest` is over the raw bytes (`bundle.digest.chunk_digest`)."""

    kind: str
    name: str
    raw_bytes: int
    records: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A segment that travels in a result bundle, with what the pilot said of it.

    `pilot_signature` is empty where a relay salvaged it; `digest` is that of its chunk.
    """

    digest: bytes
    pilot_run: PilotRun
    pilot_key: bytes
    pilot_signature: bytes
    batch_id: str
    lease: LeaseId
    work: BundleId
    telemetry: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """What a site must hold to.

    `node_hours_max_milli` is 0 where nothing is capped; `maximum` is what a task that is tried
    again may grow to at the site.
    """

    network: str = "none"
    node_hours_max_milli: int = 0
    maximum: Maximum = UNKNOWN


def chunk_to_wire(entry: ChunkEntry) -> list[Any]:
    """Return `[kind, name, raw_bytes, records, digest]`."""
    return [entry.kind, entry.name, entry.raw_bytes, entry.records, entry.digest]


def chunk_from_wire(row: shape.Reader) -> ChunkEntry:
    """Read one chunk's row. Raises WrongShape."""
    _exactly(row, 5)
    kind, name = row.text(0), row.text(1)
    if not _CHUNK_KIND.fullmatch(kind):
        raise shape.WrongShape(where=row.where, expected="a kind of chunk", found=repr(kind[:40]))
    if len(name) > NAME_CHARS_MAX:
        expected = f"a name of at most {NAME_CHARS_MAX} characters"
        raise shape.WrongShape(where=row.where, expected=expected, found=str(len(name)))
    size_max = RAW_BYTES_MAX.get(kind, RECORD_CHUNK_BYTES_MAX)
    return ChunkEntry(kind, name, number(row, 2, size_max), number(row, 3), row.bytes(4, 32))


def piece_of(entry: ChunkEntry) -> tuple[bytes, int]:
    """Return whose piece a chunk of kind `piece` is (the file's SHA-256), and its number."""
    file, _, number = entry.name.partition(".")
    return bytes.fromhex(file), int(number)


def pieces_problem(chunks: tuple[ChunkEntry, ...]) -> str:
    """Return why the pieces among these chunks are not those of whole files, or nothing."""
    before: tuple[bytes, int] | None = None
    size = 0
    for entry in chunks:
        if entry.kind != PIECE:
            before = None
            continue
        if not _PIECE_NAME.fullmatch(entry.name):
            return f"a piece is named {entry.name!r}"
        file, number = piece_of(entry)
        if number and before != (file, number - 1):
            return f"piece {entry.name} does not follow the one before it"
        if number and size != DATA_CHUNK_BYTES_MAX:
            return f"the piece before {entry.name} has {size} bytes, not {DATA_CHUNK_BYTES_MAX}"
        if not entry.raw_bytes:
            return f"piece {entry.name} is empty"
        before, size = (file, number), entry.raw_bytes
    return ""


def segment_to_wire(entry: SegmentEntry) -> list[Any]:
    """Return the segment's fields in the order of `SegmentEntry`."""
    return [
        entry.digest,
        entry.pilot_run,
        entry.pilot_key,
        entry.pilot_signature,
        entry.batch_id,
        entry.lease,
        entry.work,
        entry.telemetry,
    ]


def segment_from_wire(row: shape.Reader) -> SegmentEntry:
    """Read one segment's row. Raises WrongShape."""
    _exactly(row, 8)
    signature = row.bytes(3)
    if len(signature) not in (0, 64):
        found = f"{len(signature)} bytes"
        raise shape.WrongShape(where=row.where, expected="a signature or none", found=found)
    return SegmentEntry(
        digest=row.bytes(0, 32),
        pilot_run=PilotRun(row.bytes(1, 8)),
        pilot_key=row.bytes(2, 32),
        pilot_signature=signature,
        batch_id=row.text(4),
        lease=LeaseId(row.bytes(5, 16)),
        work=bundle_id(row.text(6), row.where),
        telemetry=row.flag(7),
    )


def rules_to_wire(rules: Rules) -> dict[str, Any]:
    """Return the rules as plain values; a maximum that is not known is absent."""
    most = rules.maximum
    known = {"maximum": [most.memory_mib, most.walltime_ms, most.disk_bytes]}
    return (known if most != UNKNOWN else {}) | {
        "network": rules.network,
        "node_hours_max_milli": rules.node_hours_max_milli,
    }


def rules_from_wire(value: shape.Reader) -> Rules:
    """Read the rules; a rule unknown here is refused, for it could not be kept."""
    if value.fields() - {"maximum"} != {"network", "node_hours_max_milli"}:
        raise shape.WrongShape(where=value.where, expected="the known rules", found="other rules")
    network = value.text("network")
    if network not in NETWORKS:
        raise shape.WrongShape(where=value.where, expected=" or ".join(NETWORKS), found=network)
    return Rules(network, number(value, "node_hours_max_milli"), _maximum(value))


def _maximum(value: shape.Reader) -> Maximum:
    if "maximum" not in value.fields():
        return UNKNOWN
    row = value.reader("maximum")
    _exactly(row, 3)
    most = Maximum(*(number(row, place, AMOUNT_MAX) for place in range(3)))
    if most == UNKNOWN:
        expected = "a maximum, or no such field"
        raise shape.WrongShape(where=row.where, expected=expected, found="nothing but 0")
    return most


def number(value: shape.Reader, key: str | int, maximum: int = NUMBER_MAX) -> int:
    """Return an integer from 0 to a maximum. Raises WrongShape."""
    found = value.count(key)
    if found > maximum:
        raise shape.WrongShape(
            where=f"{value.where}[{key}]", expected=f"at most {maximum}", found=str(found)
        )
    return found


def bundle_id(text: str, where: str) -> BundleId:
    """Return the text as a bundle's id. Raises WrongShape."""
    if not _BUNDLE_ID.fullmatch(text):
        raise shape.WrongShape(where=where, expected="64 hex characters", found=repr(text[:80]))
    return BundleId(text)


def _exactly(row: shape.Reader, length: int) -> None:
    if not isinstance(row.value, list) or len(row.value) != length:
        found = f"{len(row.value)} fields"
        raise shape.WrongShape(where=row.where, expected=f"{length} fields", found=found)
