"""Node series: what a node did while a pilot ran. Lossy by contract; never part of a state hash."""

from __future__ import annotations

from dataclasses import dataclass

from bundle import canonical, shape
from bundle.limits import TELEMETRY_LIMITS


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the node. Times are UTC microseconds; `cpu_milli` is of all cores together."""

    at_us: int
    cpu_milli: int
    memory_used_mib: int
    disk_free_bytes: int
    running: int  # tasks running


FIELDS = Sample.__slots__


def encode(samples: tuple[Sample, ...]) -> bytes:
    """Return the raw bytes of a telemetry chunk, one column per field."""
    return canonical.encode({name: [getattr(s, name) for s in samples] for name in FIELDS})


def decode(raw: bytes) -> tuple[Sample, ...]:
    """Read a telemetry chunk. Raises NotCanonical or WrongShape."""
    value = shape.Reader.of(canonical.decode(raw, TELEMETRY_LIMITS, where="telemetry"), "telemetry")
    columns = [value.counts(name) for name in FIELDS]
    if len({len(column) for column in columns}) != 1:
        raise shape.WrongShape(
            where="telemetry", expected="columns of one length", found="different lengths"
        )
    return tuple(Sample(*row) for row in zip(*columns, strict=True))
