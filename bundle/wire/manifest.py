"""The signed manifest: who made the bundle, for whom, in which place of which stream, and what.

Pure. A field at its empty value is left out; fields unknown here survive `decode` and `encode`.
A manifest is refused unless encoding what was read gives the same bytes again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, TypeVar

from bundle import canonical, shape
from bundle.errors import PulkError
from bundle.ids import (
    STEP_MAX,
    BundleId,
    DatasetId,
    Epoch,
    LeaseId,
    MalformedId,
    StreamId,
    parse_dataset_id,
)
from bundle.intervals import IntervalSet
from bundle.limits import CHUNKS_MAX, MANIFEST_LIMITS
from bundle.records import edit, receipt
from bundle.records.edit import Edit
from bundle.records.receipt import StreamReceipt
from bundle.wire import entries
from bundle.wire.entries import ChunkEntry, Rules, SegmentEntry
from bundle.wire.errors import MalformedManifest

FORMAT = 1  # the version that is written
READER_MIN = 1  # the oldest reader's version that understands what is written
CENTRAL = "central"

T = TypeVar("T")
_NONE = IntervalSet()


class Kind(StrEnum):
    """What a bundle is for; it decides who may sign it."""

    WORK = "work"
    RESULT = "result"
    TELEMETRY = "telemetry"
    REPORT = "report"
    SUBMISSION = "submission"
    DATA = "data"
    COMMIT = "commit"


KINDS: tuple[Kind, ...] = tuple(Kind)
"""The order is that of the header: a kind travels as its index here. Append, never reorder."""

CENTRALS_OWN = frozenset({Kind.WORK, Kind.COMMIT})
SITES_OWN = frozenset({Kind.RESULT, Kind.TELEMETRY, Kind.REPORT})


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestDraft:
    """Everything of a manifest but its chunks, which the writer adds.

    `previous` is the digest (id as bytes) of the stream's bundle before this one, or empty.
    `lifetime_ms` counts from acceptance and limits starting only; 0 is no limit. `introduces` are
    digests of chunks that later bundles of the stream may rely on; `refers` are digests that the
    reader must have from this stream already. `trust` is a chain (`bundle.trust.trust_file`).
    """

    kind: Kind
    producer: str  # a site's name or "central"
    stream: StreamId
    sequence: int
    created_us: int
    previous: bytes = b""
    epoch: Epoch | None = None
    commit: int = 0  # central's commit number; 0 for sites
    audience: str = ""  # a site's name, "central", or "" for anybody
    lifetime_ms: int = 0
    certificate: bytes = b""  # the site's; empty for central
    segments: tuple[SegmentEntry, ...] = ()
    introduces: tuple[bytes, ...] = ()
    refers: tuple[bytes, ...] = ()
    receipts: tuple[StreamReceipt, ...] = ()
    rules: Rules | None = None
    tombstones: tuple[DatasetId, ...] = ()
    trust: bytes = b""
    received: tuple[tuple[StreamId, IntervalSet], ...] = ()
    withdrawn: IntervalSet = _NONE  # numbers of this stream that need not arrive any more
    called_off: tuple[LeaseId, ...] = ()  # of the audience; nobody wants their results any more
    edits: tuple[Edit, ...] = ()  # which of the documents here edits made, one for a dataset
    called_off_tasks: tuple[tuple[LeaseId, int, IntervalSet], ...] = ()  # jobs of a lease's step
    unknown: tuple[tuple[str, Any], ...] = ()  # fields of later versions, sorted by name
    format: int = FORMAT
    reader_min: int = READER_MIN

    def with_chunks(self, chunks: tuple[ChunkEntry, ...]) -> Manifest:
        """Return the manifest of this draft and its chunks."""
        known = {one.name: getattr(self, one.name) for one in fields(ManifestDraft)}
        return Manifest(**known, chunks=chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(ManifestDraft):
    """A whole manifest."""

    chunks: tuple[ChunkEntry, ...] = ()

    def raw_bytes(self) -> int:
        """Return the raw bytes of all chunks together."""
        return sum(entry.raw_bytes for entry in self.chunks)


def bundle_id(manifest_bytes: bytes) -> BundleId:
    """Return the id of the bundle that has these manifest bytes."""
    return BundleId(hashlib.sha256(manifest_bytes).hexdigest())


def encode(manifest: Manifest) -> bytes:
    """Return the canonical bytes of a manifest: those that are signed and give the id."""
    return canonical.encode(_to_wire(manifest))


def _to_wire(m: Manifest) -> dict[str, Any]:
    """Return a manifest as plain values."""
    value: dict[str, Any] = {
        "format": m.format,
        "reader_min": m.reader_min,
        "kind": m.kind.value,
        "producer": m.producer,
        "stream": m.stream,
        "sequence": m.sequence,
        "created_us": m.created_us,
        "chunks": [entries.chunk_to_wire(entry) for entry in m.chunks],
    }
    sparse: dict[str, Any] = {
        "previous": m.previous,
        "epoch": list(m.epoch) if m.epoch else None,
        "commit": m.commit,
        "audience": m.audience,
        "lifetime_ms": m.lifetime_ms,
        "certificate": m.certificate,
        "segments": [entries.segment_to_wire(entry) for entry in m.segments],
        "introduces": list(m.introduces),
        "refers": list(m.refers),
        "receipts": [receipt.to_wire(one) for one in m.receipts],
        "rules": entries.rules_to_wire(m.rules) if m.rules else None,
        "tombstones": list(m.tombstones),
        "trust": m.trust,
        "received": [[stream, numbers.to_wire()] for stream, numbers in m.received],
        "withdrawn": m.withdrawn.to_wire(),
        "called_off": list(m.called_off),
        "edits": [edit.to_wire(one) for one in m.edits],
        "called_off_tasks": [[one, step, jobs.to_wire()] for one, step, jobs in m.called_off_tasks],
    }
    value |= {name: one for name, one in sparse.items() if one}
    return dict(m.unknown) | value


def decode(raw: bytes, *, where: str = "") -> Manifest:
    """Read manifest bytes. Raises MalformedManifest, which names the field.

    Authorisation is the caller's: `bundle.wire.admit` joins both.
    """
    try:
        value = shape.Reader.of(canonical.decode(raw, MANIFEST_LIMITS), "manifest")
        if not isinstance(value.value, dict):
            raise shape.WrongShape(where="manifest", expected="a map", found="an array")
        manifest = _manifest(value)
    except (canonical.NotCanonical, shape.WrongShape) as error:
        raise MalformedManifest(where=where, reason=error.text()) from error
    reason = _problem(manifest)
    if not reason and _to_wire(manifest) != value.value:
        reason = "a field is present though empty, or a row holds more than it may"
    if reason:
        raise MalformedManifest(where=where, reason=reason)
    return manifest


_REQUIRED = (
    "format", "reader_min", "kind", "producer", "stream", "sequence", "created_us", "chunks",
)  # fmt: skip
_SPARSE = (
    "previous", "epoch", "commit", "audience", "lifetime_ms", "certificate", "segments",
    "introduces", "refers", "receipts", "rules", "tombstones", "trust", "received",
    "withdrawn", "called_off", "called_off_tasks", "edits",
)  # fmt: skip
_FORBIDDEN = frozenset({"alg", "algorithm", "suite"})  # one suite a version: nothing to downgrade


def _manifest(value: shape.Reader) -> Manifest:
    return Manifest(
        format=entries.number(value, "format", 0xFFFF),
        reader_min=entries.number(value, "reader_min", 0xFFFF),
        kind=_kind(value),
        producer=value.text("producer"),
        stream=StreamId(value.bytes("stream", 16)),
        sequence=entries.number(value, "sequence"),
        created_us=entries.number(value, "created_us"),
        chunks=tuple(entries.chunk_from_wire(row) for row in value.readers("chunks")),
        previous=value.bytes("previous", 32) if value.has("previous") else b"",
        epoch=_epoch(value.reader("epoch")) if value.has("epoch") else None,
        commit=entries.number(value, "commit") if value.has("commit") else 0,
        audience=value.text("audience") if value.has("audience") else "",
        lifetime_ms=entries.number(value, "lifetime_ms") if value.has("lifetime_ms") else 0,
        certificate=value.bytes("certificate") if value.has("certificate") else b"",
        segments=_rows(value, "segments", entries.segment_from_wire),
        introduces=_ids(value, "introduces", 32),
        refers=_ids(value, "refers", 32),
        receipts=_rows(value, "receipts", receipt.from_wire),
        rules=entries.rules_from_wire(value.reader("rules")) if value.has("rules") else None,
        tombstones=_tombstones(value),
        trust=value.bytes("trust") if value.has("trust") else b"",
        received=_rows(value, "received", _received),
        withdrawn=receipt.intervals(value, "withdrawn") if value.has("withdrawn") else _NONE,
        called_off=tuple(LeaseId(one) for one in _ids(value, "called_off", 16)),
        edits=_edits(value),
        called_off_tasks=_rows(value, "called_off_tasks", _off),
        unknown=tuple(
            (name, value.value[name]) for name in value.value if name not in _REQUIRED + _SPARSE
        ),
    )


def _problem(manifest: Manifest) -> str:
    """Return what does not fit together, or nothing."""
    if manifest.reader_min > manifest.format:
        return "reader_min is beyond format"
    if any(name in _FORBIDDEN for name, _ in manifest.unknown):
        return "it names an algorithm; a format version has exactly one suite"
    if len(manifest.chunks) > CHUNKS_MAX:
        return f"{len(manifest.chunks)} chunks, at most {CHUNKS_MAX}"
    if manifest.kind in CENTRALS_OWN and manifest.producer != CENTRAL:
        return f"a {manifest.kind} bundle's producer is {CENTRAL!r}, not {manifest.producer!r}"
    if manifest.kind in SITES_OWN and not manifest.certificate:
        return f"a {manifest.kind} bundle carries the site's certificate"
    if len({one.dataset for one in manifest.edits}) < len(manifest.edits):
        return "it tells of two edits of one dataset"
    if manifest.producer == CENTRAL and manifest.certificate:
        return "central's bundles carry no certificate"
    return entries.pieces_problem(manifest.chunks)


def _kind(value: shape.Reader) -> Kind:
    text = value.text("kind")
    try:
        return Kind(text)
    except ValueError:
        expected = ", ".join(KINDS)
        raise shape.WrongShape(where="manifest.kind", expected=expected, found=text) from None


def _epoch(row: shape.Reader) -> Epoch:
    return Epoch(entries.number(row, 0), row.bytes(1, 16))


def _received(row: shape.Reader) -> tuple[StreamId, IntervalSet]:
    return StreamId(row.bytes(0, 16)), receipt.intervals(row, 1)


def _off(row: shape.Reader) -> tuple[LeaseId, int, IntervalSet]:
    return LeaseId(row.bytes(0, 16)), entries.number(row, 1, STEP_MAX), receipt.intervals(row, 2)


def _rows(value: shape.Reader, name: str, read: Callable[[shape.Reader], T]) -> tuple[T, ...]:
    return tuple(read(row) for row in value.readers(name)) if value.has(name) else ()


def _ids(value: shape.Reader, name: str, size: int) -> tuple[bytes, ...]:
    rows = shape.Reader(value.rows(name) if value.has(name) else [], f"manifest.{name}")
    return tuple(rows.bytes(place, size) for place in range(len(rows.value)))


def _edits(value: shape.Reader) -> tuple[Edit, ...]:
    try:
        return _rows(value, "edits", edit.from_wire)
    except MalformedId as error:
        raise shape.WrongShape(
            where="manifest.edits", expected="dataset ids", found=error.text()
        ) from error


def _tombstones(value: shape.Reader) -> tuple[DatasetId, ...]:
    if not value.has("tombstones"):
        return ()
    try:
        return tuple(parse_dataset_id(text) for text in value.texts("tombstones"))
    except PulkError as error:
        raise shape.WrongShape(
            where="manifest.tombstones", expected="dataset ids", found=error.text()
        ) from error


__all__ = [
    "CENTRAL", "CENTRALS_OWN", "FORMAT", "KINDS", "READER_MIN", "SITES_OWN", "ChunkEntry", "Kind",
    "Manifest", "ManifestDraft", "Rules", "SegmentEntry", "StreamReceipt", "bundle_id", "decode",
    "encode",
]  # fmt: skip
