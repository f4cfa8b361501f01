"""The limits of one task, other than memory: which was passed, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pilot.core.fate import Stop

MIB = 1 << 20
DISK_SLACK_BYTES = MIB
PROCESSES_MAX = 1024  # unless the request says otherwise; threads do not count
FIRST_PAUSE_S = 0.02
PAUSE_S_MAX = 0.5
PAUSE_S_MIN = 0.02
WARY_SHARE = 0.5  # of what is allowed: from there on looks follow the memory's growth


@dataclass(frozen=True, slots=True)
class Limits:
    """What a task asked for."""

    memory_bytes: int
    disk_bytes: int
    processes: int = PROCESSES_MAX


def disk_passed(limits: Limits, used_bytes: int) -> tuple[Stop, str]:
    """Return whether a task's files take more than it asked for."""
    if used_bytes <= limits.disk_bytes + DISK_SLACK_BYTES:
        return Stop.NONE, ""
    return Stop.DISK, f"used {used_bytes} bytes of disk, requested {limits.disk_bytes}"


def processes_passed(limits: Limits, count: int) -> tuple[Stop, str]:
    """Return whether a task has more processes than it may have."""
    if count <= limits.processes:
        return Stop.NONE, ""
    return Stop.PROCESSES, f"ran {count} processes at once, at most {limits.processes} are allowed"


def pause_s(before_s: float, used: int, growth_per_s: float, allowed: int) -> float:
    """Return how long to wait for the next look.

    Pauses double up to half a second; a task that may pass what it is allowed sooner, if it goes
    on growing as it did, is looked at in half of that time.
    """
    longest = min(2 * before_s, PAUSE_S_MAX)
    if growth_per_s <= 0 or used < WARY_SHARE * allowed:
        return longest
    left_s = (allowed - used) / growth_per_s if used < allowed else 0.0
    return max(PAUSE_S_MIN, min(longest, left_s / 2))
