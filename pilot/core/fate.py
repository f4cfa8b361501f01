"""From what a slot saw of an attempt to its fate, with one line of evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bundle.fates import Fate

SIGXCPU = 24
SIGXFSZ = 25
SIGKILL = 9
SIGTERM = 15
SCHEDULERS = frozenset({SIGTERM, SIGKILL})  # what they end batch jobs with
SHELLS_SIGNAL = 128  # a shell adds the signal of its child to it and ends with that
EVIDENCE_CHARS_MAX = 300


class Stop(StrEnum):
    """Why a running task was stopped; empty where nobody stopped it."""

    NONE = ""
    WALLTIME = "walltime"
    MEMORY = "memory"
    NODE_MEMORY = "node-memory"  # within its request, but the node had none left
    DISK = "disk"
    PROCESSES = "processes"
    PREEMPTED = "preempted"
    ALLOCATION_END = "allocation-end"
    CANCELLED = "cancelled"


NO_GRACE = frozenset({Stop.MEMORY, Stop.NODE_MEMORY, Stop.PROCESSES})
"""Stops that can't wait until a task has cleaned up."""

_STOPPED = {
    Stop.WALLTIME: Fate.TIME_LIMIT,
    Stop.MEMORY: Fate.OOM,
    Stop.NODE_MEMORY: Fate.NODE_FAILURE,
    Stop.DISK: Fate.DISK_LIMIT,
    Stop.PROCESSES: Fate.PAYLOAD_ERROR,
    Stop.PREEMPTED: Fate.PREEMPTED,
    Stop.ALLOCATION_END: Fate.ALLOCATION_END,
    Stop.CANCELLED: Fate.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a slot saw of one attempt.

    `exit_code` is -1 and `signal` > 0 where a signal ended the command; both are -1 and 0 where
    it never started. `no_routes` counts packets that found no way out of the slot's namespace.
    """

    exit_code: int
    signal: int
    stop: Stop = Stop.NONE
    stop_evidence: str = ""
    stage_in: str = ""  # what failed before the command started
    not_started: str = ""  # why the command could not be started
    network_class: str = ""  # why it may not have the network that it asks for
    unkept: bool = False  # it ended well, but was stopped before its outputs were kept
    stage_out: str = ""  # what was wrong with the outputs of a command that exited 0
    no_routes: int = 0
    kernel_oom: bool = False  # the kernel's count of its own kills rose meanwhile
    disk_failed: str = ""  # how the node's disk takes no more; it is not the task that is at fault
    full_file: int = 0  # bytes of a file that reached the limit, under a failed command
    last_line: str = ""  # of the log
    pilot_told: Stop = Stop.NONE  # why the pilot itself was told to end: all processes are told


_FIELDS = Seen.__slots__


def seen_from_wire(value: Mapping[str, Any]) -> Seen:
    """Read what a slot reports."""
    fields = {name: value[name] for name in _FIELDS if name in value}
    if "stop" in fields:
        fields["stop"] = Stop(fields["stop"])
    return Seen(**fields)


def judge(seen: Seen) -> tuple[Fate, str]:
    """Return the fate and its evidence: nothing for a success, else one line."""
    fate, evidence = _judge(seen)
    return fate, " ".join(evidence.split())[:EVIDENCE_CHARS_MAX]


def _judge(seen: Seen) -> tuple[Fate, str]:
    if seen.stage_in:
        return _staging(Fate.STAGE_IN, seen), seen.stage_in
    if seen.network_class:
        return Fate.NETWORK_DENIED, seen.network_class
    if seen.not_started:
        return Fate.PAYLOAD_ERROR, seen.not_started
    if seen.stop is not Stop.NONE and (seen.exit_code or seen.signal or seen.unkept):
        return _STOPPED[seen.stop], seen.stop_evidence or str(seen.stop)
    if seen.exit_code == 0 and not seen.signal:
        if not seen.stage_out:
            return Fate.SUCCESS, ""
        return _staging(Fate.STAGE_OUT, seen), seen.stage_out
    if seen.no_routes:
        tried = f"{seen.no_routes} packet(s) to addresses outside the node found no route"
        return Fate.NETWORK_DENIED, _with_line(f"{tried}; {_ending(seen)}", seen)
    if seen.signal == SIGXFSZ or seen.full_file:
        size = f" of {seen.full_file} bytes" if seen.full_file else ""
        return Fate.DISK_LIMIT, _with_line(f"a file grew to the disk request{size}", seen)
    if seen.disk_failed:
        return Fate.NODE_FAILURE, _with_line(f"{_ending(seen)}, {seen.disk_failed}", seen)
    if seen.signal == SIGXCPU:  # the kernel's limit, or a lower one of the site's
        return Fate.TIME_LIMIT, _with_line("a process used up the cpu time that it may use", seen)
    if seen.signal == SIGKILL and seen.kernel_oom:
        return Fate.OOM, "killed while the kernel ran out of memory"
    if seen.pilot_told is not Stop.NONE and may_be_a_schedulers(seen.exit_code, seen.signal):
        return _STOPPED[seen.pilot_told], f"{_ending(seen)}, as the pilot was told to end"
    if seen.signal:
        return Fate.SIGNAL, _with_line(_ending(seen), seen)
    return Fate.PAYLOAD_ERROR, _with_line(_ending(seen), seen)


def _staging(fate: Fate, seen: Seen) -> Fate:
    return Fate.NODE_FAILURE if seen.disk_failed else fate


def may_be_a_schedulers(exit_code: int, signal: int) -> bool:
    """Return whether a task ended as those do that a scheduler signals, itself or below a shell."""
    return signal in SCHEDULERS or exit_code - SHELLS_SIGNAL in SCHEDULERS


def _ending(seen: Seen) -> str:
    return f"signal {seen.signal}" if seen.signal else f"exit {seen.exit_code}"


def _with_line(text: str, seen: Seen) -> str:
    return f"{text}: {seen.last_line}" if seen.last_line else text
