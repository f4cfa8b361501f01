"""Watching one task: memory and disk of everything it started, in growing intervals."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from pilot import linux, stage
from pilot.core.fate import Stop

MIB = 1 << 20
FIRST_LOOK_S = 0.02
LOOK_S_MAX = 0.5
DISK_LOOK_S = 0.5
DISK_SHARE_MAX = 0.05  # of the time may go into walking the slot's directory
MEMORY_SLACK_MIB = 64  # beside a tenth of the request: what an interpreter or loader needs
DISK_SLACK_BYTES = MIB


class Watch:
    """Limits and peaks of the task that this slot runs."""

    def __init__(self, memory_mib: int, disk_bytes: int) -> None:
        """Start watching. Limits are the task's request; some slack is given."""
        slack_mib = max(MEMORY_SLACK_MIB, memory_mib // 10)
        self._memory_bytes_max = (memory_mib + slack_mib) * MIB
        self._memory_mib = memory_mib
        self._disk_bytes_max = disk_bytes + DISK_SLACK_BYTES
        self._interval_s = FIRST_LOOK_S
        self.next_look_s = time.monotonic() + FIRST_LOOK_S
        self._next_disk_look_s = time.monotonic() + DISK_LOOK_S
        self.has_looked = False
        self.memory_peak_bytes = 0
        self.disk_peak_bytes = 0

    def look(
        self, log_bytes: int, ram_bytes: int = 0, is_due: Callable[[], bool] = lambda: False
    ) -> tuple[Stop, str]:
        """Take a sample; return which limit was passed, with the evidence.

        `ram_bytes` is what the task's files in memory take; it counts as memory. `is_due` tells
        that something else must not wait: then a look that takes long is given up.
        """
        self.has_looked = True
        now_s = time.monotonic()
        self._interval_s = min(2 * self._interval_s, LOOK_S_MAX)
        self.next_look_s = now_s + self._interval_s
        tree_bytes = _tree_bytes(self._memory_bytes_max, is_due)
        if tree_bytes is None:
            return Stop.NONE, ""
        used = tree_bytes + ram_bytes
        self.memory_peak_bytes = max(self.memory_peak_bytes, used)
        if used > self._memory_bytes_max:
            words = f"used {used // MIB} MiB, requested {self._memory_mib} MiB"
            if ram_bytes > MIB:
                words += f"; {ram_bytes // MIB} MiB of it in files of /tmp or /dev/shm"
            return Stop.MEMORY, words
        if now_s >= self._next_disk_look_s:
            return self._look_at_disk(now_s, log_bytes)
        return Stop.NONE, ""

    def look_at_end(self, log_bytes: int) -> None:
        """Take the last look at the directory, before outputs leave it."""
        self.disk_peak_bytes = max(self.disk_peak_bytes, stage.used_bytes() + log_bytes)

    def _look_at_disk(self, now_s: float, log_bytes: int) -> tuple[Stop, str]:
        used = stage.used_bytes() + log_bytes
        cost_s = time.monotonic() - now_s
        self._next_disk_look_s = now_s + max(DISK_LOOK_S, cost_s / DISK_SHARE_MAX)
        self.disk_peak_bytes = max(self.disk_peak_bytes, used)
        if used > self._disk_bytes_max:
            wanted = self._disk_bytes_max - DISK_SLACK_BYTES
            return Stop.DISK, f"used {used} bytes of disk, requested {wanted}"
        return Stop.NONE, ""


def _tree_bytes(suspicious_bytes: int, is_due: Callable[[], bool]) -> int | None:
    """Return the memory of everything below this process; None where that was given up.

    Resident memory counts shared pages once for each process, so it only raises the suspicion; the
    proportional figure, which costs a walk of the page tables, decides. Of processes that fork all
    the time the kernel tells it so slowly that hundreds take a minute.
    """
    family = linux.descendants(os.getpid())
    used = sum(map(linux.resident_bytes, family))
    if used <= suspicious_bytes or len(family) <= 1:
        return used
    used = 0
    for pid in family:
        if is_due():
            return None
        used += linux.proportional_bytes(pid)
    return used
