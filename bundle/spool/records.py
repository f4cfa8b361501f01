"""What a pilot journals and a relay salvages: header, attempts begun and ended, logs, samples.

That an attempt began is written before anything is known of it, so that a dead pilot's journal
tells under which tasks it died.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bundle import shape
from bundle.records import segment as segments
from bundle.records import telemetry
from bundle.records.attempt import Attempt
from bundle.records.segment import SegmentHeader


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that a slot was asked for; the fields are those of `Attempt`."""

    local: int
    job: int
    step: int
    generation: int
    slot: int
    started_us: int
    started_mono_us: int


@dataclass(frozen=True, slots=True)
class Journaled:
    """The content of a journal: `header` is None where not even that was written.

    `open`: the attempts that began, and neither ended nor were handed back, by local number.
    """

    header: SegmentHeader | None
    attempts: tuple[Attempt, ...]
    logs: dict[int, bytes]
    samples: tuple[telemetry.Sample, ...]
    open: tuple[Begun, ...] = ()
    series: dict[int, bytes] = field(default_factory=dict)


def header_record(header: SegmentHeader) -> dict[str, Any]:
    """Return the first record of a journal."""
    return {"kind": "header", "header": segments.header_to_wire(header)}


def attempt_record(attempt: Attempt, log: bytes, series: bytes = b"") -> dict[str, Any]:
    """Return the record of one ended attempt, with its encoded time series if it has one."""
    record = {"kind": "attempt", "row": segments.row_to_wire(attempt), "log": log}
    return record | {"series": series} if series else record


def begun_record(begun: Iterable[Begun], back: Iterable[int] = ()) -> dict[str, Any]:
    """Return the record of attempts that slots were asked for, and of those handed back unbegun."""
    rows = [[getattr(one, name) for name in Begun.__slots__] for one in begun]
    return {"kind": "begun", "rows": rows, "back": list(back)}


def sample_record(samples: tuple[telemetry.Sample, ...]) -> dict[str, Any]:
    """Return a record of node samples."""
    return {"kind": "samples", "samples": telemetry.encode(samples)}


def read_records(records: Iterable[Any]) -> Journaled:
    """Read a journal's records; an unknown kind is passed over. Raises WrongShape."""
    header: SegmentHeader | None = None
    attempts: list[Attempt] = []
    logs: dict[int, bytes] = {}
    samples: list[telemetry.Sample] = []
    series: dict[int, bytes] = {}
    begun: dict[int, Begun] = {}
    for number, record in enumerate(records):
        value = shape.Reader.of(record, f"journal[{number}]")
        match value.text("kind"):
            case "header":
                header = segments.header_from_wire(value.reader("header"))
            case "attempt":
                attempt = segments.row_from_wire(value.reader("row"))
                attempts.append(attempt)
                begun.pop(attempt.local, None)
                if log := value.bytes("log"):
                    logs[attempt.local] = log
                if value.has("series"):
                    series[attempt.local] = value.bytes("series")
            case "begun":
                begun.update((one.local, one) for one in map(_begun, value.readers("rows")))
                for local in value.counts("back"):
                    begun.pop(local, None)
            case "samples":
                samples.extend(telemetry.decode(value.bytes("samples")))
    still_open = tuple(begun[local] for local in sorted(begun))
    return Journaled(header, tuple(attempts), logs, tuple(samples), still_open, series)


def _begun(row: shape.Reader) -> Begun:
    return Begun(*(row.count(place) for place in range(len(Begun.__slots__))))
