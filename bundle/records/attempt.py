"""An attempt: one try at a task, as the pilot saw it."""

from __future__ import annotations

from dataclasses import dataclass

from bundle.digest import digest
from bundle.fates import Fate


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt used. `cpu_ms` is user and system time of the whole process tree."""

    wall_ms: int = 0
    cpu_ms: int = 0
    memory_peak_mib: int = 0
    disk_peak_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a task. Lease, dataset and pilot_run stand in the segment's header.

    `consumed` holds one outcome digest per parent task, in the order of
    `bundle.dataset.graph.parents`; `outputs` one (file digest, size in bytes) per declared output
    and is empty unless the fate is success. `started_us` is UTC microseconds by the node's clock;
    `started_mono_us` and `ended_mono_us` are of the node's monotonic clock (see boot_id).
    """

    job: int
    step: int
    generation: int
    local: int
    fate: Fate
    exit_code: int
    signal: int
    started_us: int
    started_mono_us: int
    ended_mono_us: int
    slot: int
    usage: Usage = Usage()
    consumed: tuple[bytes, ...] = ()
    outputs: tuple[tuple[bytes, int], ...] = ()
    software: str = ""  # what the payload said it ran: `name==version` joined by spaces, sorted
    evidence: str = ""  # one line: why this fate


def outcome_digest(outputs: tuple[tuple[bytes, int], ...]) -> bytes:
    """Return the digest that stands for all outputs of a success, in declared order."""
    return digest("outcome", b"".join(file for file, _ in outputs))


def lineage_digest(consumed: tuple[bytes, ...]) -> bytes:
    """Return the digest that stands for everything an attempt was computed from."""
    return digest("lineage", b"".join(consumed))
