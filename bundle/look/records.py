"""What chunks of records hold, as plain values for JSON: bytes in hex, fields by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from bundle import canonical, shape
from bundle.dataset import spec
from bundle.dataset.spec import Dataset
from bundle.intervals import IntervalSet
from bundle.limits import ENVELOPE_LIMITS, SMALL_LIMITS, ParseLimits
from bundle.records import lease as leases
from bundle.records import report as reports
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.records import telemetry as samples
from bundle.records.attempt import Attempt
from bundle.records.lease import Lease
from bundle.records.segment import ATTEMPT_NUMBERS, USAGE_NUMBERS, Segment, SegmentHeader
from bundle.trust import cosignature, fingerprint, signed, trust_file
from bundle.wire import manifest as manifests
from bundle.wire.entries import RECORD_CHUNK_BYTES_MAX
from bundle.wire.manifest import Manifest

UNKNOWN_LIMITS = ParseLimits(RECORD_CHUNK_BYTES_MAX, 4_000_000)  # a chunk of a kind unknown here

Row = dict[str, Any]


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: bytes in hex, records as maps, sets as runs."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if isinstance(value, IntervalSet):
        return value.to_wire()
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return str(value)


def records_of(kind: str, raw: bytes) -> Any:
    """Return the content of a chunk of records. Raises PulkError where it is not well-formed."""
    return _READERS.get(kind, _unknown)(raw)


def segment_rows(segment: Segment) -> Iterator[Row]:
    """Yield each attempt as one flat row that says everything by itself."""
    shared = _shared(segment.header)
    for attempt in segment.attempts:
        yield shared | attempt_row(attempt)


def attempt_row(attempt: Attempt) -> Row:
    """Return an attempt as one flat row, without what its segment's header says."""
    row: Row = {name: getattr(attempt, name) for name in ATTEMPT_NUMBERS}
    row["fate"] = attempt.fate.value
    row |= {name: getattr(attempt.usage, name) for name in USAGE_NUMBERS}
    row["consumed"] = [one.hex() for one in attempt.consumed]
    row["outputs"] = [[file.hex(), size] for file, size in attempt.outputs]
    row["software"], row["evidence"] = attempt.software, attempt.evidence
    return row


def task_count(lease: Lease) -> int:
    """Return how many tasks a lease promises, however many it claims."""
    return sum(
        (past - first) * len(block.steps)
        for block in lease.blocks
        for first, past in block.jobs.spans
    )


def envelope_manifest(raw: bytes) -> Manifest:
    """Return the manifest inside an envelope, not verified. Raises PulkError."""
    value = shape.Reader.of(canonical.decode(raw, ENVELOPE_LIMITS, where="envelope"), "envelope")
    return manifests.decode(value.bytes("manifest"), where="envelope")


def trust_versions(chain: bytes) -> list[int]:
    """Return the versions that a trust chain holds, none of them verified. Raises PulkError."""
    bodies = [signed.decode(one, "trust file").body for one in trust_file.decode_chain(chain)]
    return [
        shape.Reader.of(canonical.decode(body, SMALL_LIMITS), "trust file").count("version")
        for body in bodies
    ]


def dataset_value(dataset: Dataset) -> Row:
    """Return a dataset's document with every field by its name."""
    value: Row = plain(dataset)
    value["parameters"] = dict(dataset.parameters)
    value["files"] = {name: _file(content) for name, content in dataset.files}
    for row, step in zip(value["steps"], dataset.steps, strict=True):
        row["environment"] = dict(step.environment)
    return value


def _file(content: bytes) -> Row:
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"hex": content.hex()}


def _shared(header: SegmentHeader) -> Row:
    row: Row = {"dataset": header.dataset, "lease": header.lease.hex()}
    return row | {"pilot_run": header.pilot_run.hex(), "host": header.host.name}


def _dataset(raw: bytes) -> Row:
    return dataset_value(spec.decode(raw))


def _lease(raw: bytes) -> Row:
    lease = leases.decode(raw)
    value: Row = plain(lease)
    return {"tasks": task_count(lease)} | value


def _segment(raw: bytes) -> Row:
    segment = segments.decode(raw)
    return {
        "header": plain(segment.header),
        "complete": segment.complete,
        "salvaged_at": segment.salvaged_at,
        "attempts": [attempt_row(one) for one in segment.attempts],
    }


def _logs(raw: bytes) -> list[Row]:
    return [
        {"local": local, "bytes": len(log), "text": log.decode(errors="replace")}
        for local, log in seals.decode_logs(raw).items()
    ]


def _telemetry(raw: bytes) -> Any:
    return plain(samples.decode(raw))


def _envelope(raw: bytes) -> Any:
    return plain(envelope_manifest(raw))


def _cosignature(raw: bytes) -> Row:
    found = cosignature.read(raw)
    keys = [{"key": one.hex(), "words": fingerprint.of_key(one)} for one in sorted(found.keys)]
    return {"document": found.digest.hex(), "keys": keys}


def _report(raw: bytes) -> Row:
    report = reports.decode(raw)
    value: Row = plain(report)
    value["profile"] = dict(report.profile)
    return value


def _unknown(raw: bytes) -> Any:
    return plain(canonical.decode(raw, UNKNOWN_LIMITS, where="chunk"))


_READERS: dict[str, Callable[[bytes], Any]] = {
    "dataset": _dataset,
    "lease": _lease,
    "segment": _segment,
    "logs": _logs,
    "telemetry": _telemetry,
    "work-manifest": _envelope,
    "report": _report,
    cosignature.CHUNK: _cosignature,
}


KNOWN_KINDS = frozenset(_READERS)
