"""Killing and reaping everything that a task started, and what it used.

The slot is a subreaper: whatever a task leaves behind, however it detached itself, becomes the
slot's own child.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from pilot import linux

SWEEP_S_MAX = 10.0
STILL_ROUNDS_MAX = 8  # who leaves the group and forks without end may stay ahead


@dataclass(slots=True)
class Ended:
    """How a task's first process ended, and what all of its processes used."""

    status: int
    cpu_s: float = 0.0
    maxrss_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    left_behind: int = 0  # processes that had to be killed

    def add(self, usage: resource.struct_rusage) -> None:
        """Add what one reaped process (and the children it waited for) used."""
        self.cpu_s += usage.ru_utime + usage.ru_stime
        self.maxrss_bytes = max(self.maxrss_bytes, usage.ru_maxrss * 1024)

    def add_left(self, usage: resource.struct_rusage) -> None:
        """Add a process that was left behind, once it is killed and reaped."""
        self.add(usage)
        self.left_behind += 1

    def add_all(self, other: Ended) -> None:
        """Add what was left behind and reaped elsewhere."""
        self.cpu_s += other.cpu_s
        self.maxrss_bytes = max(self.maxrss_bytes, other.maxrss_bytes)
        self.left_behind += other.left_behind


def sweep(ended: Ended | None = None) -> None:
    """Kill and reap every process below this one; their usage is added to `ended`.

    Ends this process where something cannot be killed: the pilot starts a new slot.
    """
    give_up_s = time.monotonic() + SWEEP_S_MAX
    pause_s = 0.0005
    while True:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            if ended is not None:
                ended.add_left(usage)
            continue
        kill_all()
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.05)
        if time.monotonic() > give_up_s:
            sys.exit("a process of the task cannot be killed")


def kill_all() -> None:
    """Kill every process below this one."""
    for pid in linux.descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def held_still(first: int) -> Iterator[None]:
    """Hold a task still: the group of its first process in one moment, then who left that."""
    held: set[int] = set()
    try:
        signal_group(first, signal.SIGSTOP)
        for _ in range(STILL_ROUNDS_MAX):
            new = set(linux.descendants(os.getpid())) - held
            if not new:
                break
            _signal_all(new, signal.SIGSTOP)
            held |= new
        yield
    finally:
        _signal_all(held, signal.SIGCONT)
        signal_group(first, signal.SIGCONT)


def _signal_all(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a task's process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def own_peak_bytes(ended: Ended, seen_bytes: int) -> int:
    """Return the kernel's figure for a task's peak memory, unless it is the slot's own.

    Between fork and exec a child has the slot's memory, and that counts into its maximum; so a
    small task that nobody looked at in time is given this upper bound.
    """
    if not seen_bytes:
        return ended.maxrss_bytes
    slot_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return 0 if ended.maxrss_bytes <= slot_bytes else ended.maxrss_bytes
