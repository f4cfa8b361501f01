"""Processes of this machine, named so that a reused pid can't fool anybody.

A process is (boot id, pid, start time in clock ticks since boot). Reads /proc only; what vanishes
while it is read is gone.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
DEAD_STATES = frozenset("ZXx")  # a zombie does nothing any more


@dataclass(frozen=True, slots=True)
class Process:
    """One process. `start_ticks` is field 22 of /proc/PID/stat."""

    pid: int
    start_ticks: int
    session: int
    state: str

    @property
    def alive(self) -> bool:
        """Whether it can still do anything."""
        return self.state not in DEAD_STATES


def boot_id() -> str:
    """Return the random id that the kernel drew when this machine started."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def look(pid: int) -> Process | None:
    """Return the process that has this pid now, or None."""
    try:
        return parse_stat((PROC / str(pid) / "stat").read_text(errors="replace"))
    except (OSError, ValueError):
        return None


def parse_stat(text: str) -> Process:
    """Read the line of /proc/PID/stat; the name in it may hold spaces and parentheses.

    Raises ValueError for anything else.
    """
    head, _, rest = text.rpartition(")")
    fields = rest.split()
    if len(fields) < 20:
        raise ValueError("not the line of /proc/PID/stat")
    return Process(
        pid=int(head.partition(" ")[0]),
        start_ticks=int(fields[19]),
        session=int(fields[3]),
        state=fields[0],
    )


def every() -> Iterator[Process]:
    """Yield every process that is visible."""
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and (found := look(int(entry.name))) is not None:
            yield found


def is_alive(pid: int, start_ticks: int) -> bool:
    """Return whether exactly this process still runs."""
    found = look(pid)
    return found is not None and found.start_ticks == start_ticks and found.alive


def environment_of(pid: int) -> bytes:
    """Return the environment a process was started with; empty where it can't be read."""
    try:
        return (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return b""


def arguments_of(pid: int) -> bytes:
    """Return the arguments of a process, each ended by a zero byte; empty where unreadable."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""


def end(process: Process, how: signal.Signals) -> None:
    """Send a signal to exactly this process; nothing where it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        if is_alive(process.pid, process.start_ticks):  # the descriptor can't be reused any more
            signal.pidfd_send_signal(descriptor, how)
    except OSError:
        pass  # it ended meanwhile, or is not ours
    finally:
        os.close(descriptor)


def reap(pid: int) -> bool:
    """Take a child's exit status where it ended, so that it does not stay a zombie.

    Returns whether there is nothing (more) to reap: it is reaped now, or is no child of ours.
    """
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except OSError:
        return True
