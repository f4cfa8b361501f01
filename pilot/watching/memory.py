"""What a task's memory is, from looks at its processes.

Resident memory counts shared pages once for each process, and mapped files' pages that the kernel
can drop. So it only raises a suspicion; then the split of each process is read; then, where
processes share, the proportional figure, which costs a walk of the page tables. Of processes that
fork all the time the kernel tells it slowly and never at one moment; those are held still for it.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

from pilot.watching import processes
from pilot.watching.processes import Process, Shares, Split

SPLIT_MAX = 8  # of the largest processes are split at every look
WALK_BYTES_MIN = 4 << 20
PROPORTIONAL_SHARE_MAX = 0.05  # of the time may go into walking page tables
WALK_S_MIN = 0.05  # what takes longer than this, and the time for its size, is given up
WALK_S_PER_GIB = 0.02
WALK_PAUSE_S_MAX = 5.0  # for a task that may use more than it is allowed
STILL_S_MAX = 0.5  # for so long a task may be held still
UNSURE_MAX = 2  # walks in a row that told nothing certain, before it is


class Memory:
    """The memory of one task's tree, now and at most."""

    def __init__(self, suspicious_bytes: int) -> None:
        """Start with a task that has used nothing; beyond `suspicious_bytes` it is measured."""
        self._suspicious = suspicious_bytes
        self._splits: dict[int, Split] = {}
        self._next_walk_s = 0.0
        self._walked = 0  # the last proportional figure
        self._unsure = 0  # walks in a row
        self.used_bytes = 0
        self.peak_bytes = 0
        self._spike_bytes = 0

    def suspect(self, suspicious_bytes: int) -> None:
        """Measure beyond another figure from now on."""
        self._suspicious = suspicious_bytes

    def look(
        self,
        family: Sequence[Process],
        again: Callable[[], list[Process]],
        more_bytes: int = 0,
        is_due: Callable[[], bool] = lambda: False,
        still: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> int:
        """Take a look at all processes; returns the highest use since the last one, in bytes.

        `again` lists the processes once more; `more_bytes` is what the task's files in memory
        take. `is_due` tells that the caller can't wait: then the last look's figure stays.
        `still` holds all of them still.
        """
        self._spike_bytes = 0
        total = sum(process.resident_bytes for process in family)
        suspected = total + more_bytes > self._suspicious
        for process in family if suspected else _largest(family):
            found = self._split(process)
            total += (found.own if found is not None else 0) - process.resident_bytes
        if total + more_bytes > self._suspicious // 2 and len(family) > 1:
            shared = self._shared(family, total, again, is_due, still)
            if shared is None:
                return self.used_bytes
            total = shared
        self._splits = {
            process.pid: self._splits[process.pid]
            for process in family
            if process.pid in self._splits
        }
        self.used_bytes = total + more_bytes
        highest = max(self.used_bytes, self._spike_bytes)
        self.peak_bytes = max(self.peak_bytes, highest)
        return highest

    def file_bytes(self) -> int:
        """Return the mapped files' pages of the process that had most, at the last look."""
        return max((one.file for one in self._splits.values()), default=0)

    def _split(self, process: Process) -> Split | None:
        """Split a process; where its highest mark rose since the last look, that was a spike.

        The mark holds mapped files too: as many as there were at one of the two looks.
        """
        found = processes.split(process.pid)
        if found is None:
            return None
        before = self._splits.get(process.pid)
        if before is None or found.highest > before.highest:
            file = max(found.file, before.file if before is not None else 0)
            self._spike_bytes = max(self._spike_bytes, found.highest - file)
        self._splits[process.pid] = found
        return found

    def _shared(
        self,
        family: Sequence[Process],
        total: int,
        again: Callable[[], list[Process]],
        is_due: Callable[[], bool],
        still: Callable[[], AbstractContextManager[None]],
    ) -> int | None:
        """Return the proportional figure; between two walks the last one; None where given up.

        A process that starts or ends during the walk changes the others' parts, and pages are
        counted more than once. Then only what each process has alone is certain, and of shared
        pages those of the one that has most. A task whose processes change without end could
        hide behind that, so now and then it is held still.
        """
        began_s = time.monotonic()
        if began_s < self._next_walk_s:
            return min(self._walked, total)
        long_s = WALK_S_MIN + WALK_S_PER_GIB * total / (1 << 30)
        parts = self._walk(family, lambda: is_due() or time.monotonic() > began_s + long_s)
        if len(parts) < len(family) and is_due():
            return None
        figure = sum(part.proportional for part in parts)
        is_partial = len(parts) < len(family)
        if is_partial or (figure > self._suspicious and _alive(again()) != _alive(family)):
            self._unsure += UNSURE_MAX if is_partial else 1
            figure = min(figure, _certain(parts))
            if figure <= self._suspicious < total and self._unsure >= UNSURE_MAX:
                figure = self._held_still(again, is_due, still)
        else:
            self._unsure = 0
        cost_s = time.monotonic() - began_s
        pause_s = cost_s / PROPORTIONAL_SHARE_MAX
        if total > self._suspicious:
            pause_s = min(pause_s, WALK_PAUSE_S_MAX + cost_s)
        self._next_walk_s = began_s + pause_s
        self._walked = figure
        return figure

    def _held_still(
        self,
        again: Callable[[], list[Process]],
        is_due: Callable[[], bool],
        still: Callable[[], AbstractContextManager[None]],
    ) -> int:
        """Return the proportional figure of processes that do nothing; at least so much is used."""
        with still():
            until_s = time.monotonic() + STILL_S_MAX
            family = sorted(again(), key=lambda process: -process.resident_bytes)
            parts = self._walk(family, lambda: is_due() or time.monotonic() > until_s)
        self._unsure = 0
        return sum(part.proportional for part in parts)

    def _walk(self, family: Iterable[Process], is_over: Callable[[], bool]) -> list[Shares]:
        """Return the parts of as many processes as there is time for."""
        parts = []
        for process in family:
            if is_over():
                break
            parts.append(self._shares(process))
        return parts

    def _shares(self, process: Process) -> Shares:
        """Return a process's part; a small one is not worth the walk."""
        split = self._splits.get(process.pid)
        own = process.resident_bytes if split is None else split.own
        if own >= WALK_BYTES_MIN:
            if (found := processes.shares(process.pid)) is not None:
                return found
            split = processes.split(process.pid)  # a kernel that can't tell, or it has just ended
            own = 0 if split is None else split.own
        return Shares(own, own)


def _certain(parts: Sequence[Shares]) -> int:
    """Return what processes that were not all looked at in one moment have at least."""
    shared = max((part.proportional - part.private for part in parts), default=0)
    return sum(part.private for part in parts) + shared


def _alive(family: Sequence[Process]) -> set[int]:
    """Return who has memory; what is about to end gives it up before it is a zombie."""
    return {process.pid for process in family if process.resident_bytes}


def _largest(family: Sequence[Process]) -> list[Process]:
    """Return the few that are worth reading more of; zombies have nothing."""
    living = [process for process in family if process.resident_bytes]
    if len(living) <= SPLIT_MAX:
        return living
    return heapq.nlargest(SPLIT_MAX, living, key=lambda process: process.resident_bytes)
