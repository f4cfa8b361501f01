"""What a pilot journals and a relay salvages: header, ended attempts with logs, samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bundle import shape
from bundle.records import segment as segments
from bundle.records import telemetry
from bundle.records.attempt import Attempt
from bundle.records.segment import SegmentHeader


@dataclass(frozen=True, slots=True)
class Journaled:
    """The content of a journal: `header` is None where not even that was written."""

    header: SegmentHeader | None
    attempts: tuple[Attempt, ...]
    logs: dict[int, bytes]
    samples: tuple[telemetry.Sample, ...]


def header_record(header: SegmentHeader) -> dict[str, Any]:
    """Return the first record of a journal."""
    return {"kind": "header", "header": segments.header_to_wire(header)}


def attempt_record(attempt: Attempt, log: bytes) -> dict[str, Any]:
    """Return the record of one ended attempt."""
    return {"kind": "attempt", "row": segments.row_to_wire(attempt), "log": log}


def sample_record(samples: tuple[telemetry.Sample, ...]) -> dict[str, Any]:
    """Return a record of node samples."""
    return {"kind": "samples", "samples": telemetry.encode(samples)}


def read_records(records: Iterable[Any]) -> Journaled:
    """Read a journal's records; an unknown kind is passed over. Raises WrongShape."""
    header: SegmentHeader | None = None
    attempts: list[Attempt] = []
    logs: dict[int, bytes] = {}
    samples: list[telemetry.Sample] = []
    for number, record in enumerate(records):
        value = shape.Reader.of(record, f"journal[{number}]")
        match value.text("kind"):
            case "header":
                header = segments.header_from_wire(value.reader("header"))
            case "attempt":
                attempt = segments.row_from_wire(value.reader("row"))
                attempts.append(attempt)
                if log := value.bytes("log"):
                    logs[attempt.local] = log
            case "samples":
                samples.extend(telemetry.decode(value.bytes("samples")))
    return Journaled(header, tuple(attempts), logs, tuple(samples))
