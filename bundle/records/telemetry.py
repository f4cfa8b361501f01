"""What a node did while a pilot ran, and each long task. Lossy; never part of a state hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bundle import canonical, shape
from bundle.limits import TELEMETRY_LIMITS
from bundle.records import series as series_of_task
from bundle.records.series import Point

NO_SERIES: Mapping[int, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the node. Times are UTC microseconds; `cpu_milli` is of all cores together."""

    at_us: int
    cpu_milli: int
    memory_used_mib: int
    disk_free_bytes: int
    running: int  # tasks running


FIELDS = Sample.__slots__


def encode(samples: tuple[Sample, ...], series: Mapping[int, bytes] = NO_SERIES) -> bytes:
    """Return the raw bytes of a telemetry chunk: a column per field, and tasks' time series.

    `series` holds encoded `bundle.records.series` by local number; without any, the key is absent.
    """
    value: dict[str, object] = {name: [getattr(s, name) for s in samples] for name in FIELDS}
    if series:
        value["series"] = [[local, series[local]] for local in sorted(series)]
    return canonical.encode(value)


def decode(raw: bytes) -> tuple[Sample, ...]:
    """Read the node's samples in a telemetry chunk. Raises NotCanonical or WrongShape."""
    value = _read(raw)
    columns = [value.counts(name) for name in FIELDS]
    if len({len(column) for column in columns}) != 1:
        raise shape.WrongShape(
            where="telemetry", expected="columns of one length", found="different lengths"
        )
    return tuple(Sample(*row) for row in zip(*columns, strict=True))


def decode_series(raw: bytes) -> dict[int, tuple[Point, ...]]:
    """Read the tasks' time series in a telemetry chunk, by local number.

    Raises NotCanonical or WrongShape.
    """
    value = _read(raw)
    rows = value.readers("series") if value.has("series") else ()
    return {row.count(0): series_of_task.decode(row.bytes(1)) for row in rows}


def _read(raw: bytes) -> shape.Reader:
    return shape.Reader.of(canonical.decode(raw, TELEMETRY_LIMITS, where="telemetry"), "telemetry")
