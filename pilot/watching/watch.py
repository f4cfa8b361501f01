"""Watching one task, in its slot: looks at growing intervals, limits, peaks, its time series.

Memory is judged by the pilot, which knows what the other slots use: it is told the news. A task
that ends before the first look costs two readings of the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from bundle.records.series import Point
from pilot import stage
from pilot.core.fate import Stop
from pilot.watching import limits
from pilot.watching.lending import allowed
from pilot.watching.limits import MIB, Limits
from pilot.watching.memory import Memory
from pilot.watching.processes import Process, Processes, moved_bytes
from pilot.watching.series import Series

DISK_LOOK_S = 0.5
DISK_SHARE_MAX = 0.05  # of the time may go into walking the slot's directory
SERIES_S_MIN = 1.0  # a shorter task's use says it all
NEWS_SHARE = 16  # the pilot hears of memory that changed by this part of the request
NEWS_BYTES_MIN = 8 * MIB
NEVER_S = float("inf")
MOVED_MAX = 64  # processes whose reading and writing is looked at


class Watch:
    """Limits and peaks of the task that this slot runs."""

    __slots__ = ("_looks", "_processes", "_request", "began_s", "disk_peak_bytes", "next_look_s")

    def __init__(self, request: dict[str, Any], processes: Processes) -> None:
        """Start watching. Limits are the task's request; `processes` serves task after task."""
        self._request = request
        self._processes = processes
        self._looks: _Looks | None = None
        self.began_s = time.monotonic()
        self.next_look_s = self.began_s + limits.FIRST_PAUSE_S
        self.disk_peak_bytes = 0

    @property
    def has_looked(self) -> bool:
        """Whether the task ran long enough for a look."""
        return self._looks is not None

    @property
    def memory_peak_bytes(self) -> int:
        """The highest memory that was seen."""
        return self._looks.memory.peak_bytes if self._looks is not None else 0

    def look(
        self,
        log_bytes: int,
        ram_bytes: int = 0,
        spared: Collection[int] = (),
        is_due: Callable[[], bool] = lambda: False,
        still: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> tuple[Stop, str]:
        """Take a look; return which limit was passed, with the evidence.

        `ram_bytes` is what the task's files in memory take; it counts as memory. `spared` are
        processes of ours. `is_due` tells that something else must not wait: then measuring what
        takes long is given up. `still` holds the task still, for what can't be measured otherwise.
        """
        if self._looks is None:
            self._looks = _Looks(self._request, self.began_s)
        looks = self._looks
        now_s = time.monotonic()

        def family() -> list[Process]:
            return self._processes.look(spared, is_due)

        stop = looks.take(family, ram_bytes, now_s, is_due, still)
        if looks.is_disk_due(now_s):
            used = stage.used_bytes() + log_bytes
            self.disk_peak_bytes = max(self.disk_peak_bytes, used)
            stop = _first(stop, looks.take_disk(used, now_s))
        self.next_look_s = now_s + looks.pause_s
        return stop

    def news(self, tell_s: float = NEVER_S) -> list[Any] | None:
        """Return what the pilot should hear: local number, bytes used, peak, asked, GPUs, CPU.

        `tell_s`: so long after it heard the last it hears again, though nothing changed.
        """
        return self._looks.take_news(tell_s) if self._looks is not None else None

    def see_gpus(self, milli: int, memory_mib: int) -> None:
        """Note what the task's devices do, as the pilot saw it."""
        if self._looks is not None:
            self._looks.gpus = (milli, memory_mib)

    def allow(self, memory_mib: int) -> None:
        """Let the task have so much memory from now on; the pilot hears it with the next look."""
        self._request["memory_mib"] = memory_mib
        if self._looks is not None:
            self._looks.allow(memory_mib * MIB)

    def look_at_end(self, log_bytes: int) -> None:
        """Take the last look at the directory, before outputs leave it."""
        self.disk_peak_bytes = max(self.disk_peak_bytes, stage.used_bytes() + log_bytes)

    def end(self, kernel_peak_bytes: int) -> tuple[int, bytes]:
        """Return the peak of memory in bytes and the time series, which a short task lacks.

        `kernel_peak_bytes` is the kernel's figure, which holds mapped files too.
        """
        looks = self._looks
        if looks is None:
            return kernel_peak_bytes, b""
        self._processes.close()
        seen = looks.memory.peak_bytes
        peak = max(seen, kernel_peak_bytes - looks.memory.file_bytes())
        now_s = time.monotonic()
        if now_s - self.began_s < SERIES_S_MIN:
            return peak, b""
        was_missed = peak - seen > seen // NEWS_SHARE  # a spike that no look saw
        last = peak if was_missed else looks.memory.used_bytes
        return peak, looks.ended(last, now_s)


class _Looks:
    """What the looks at a task found so far."""

    def __init__(self, request: dict[str, Any], began_s: float) -> None:
        memory = request["memory_mib"] * MIB
        most = request.get("processes_max", limits.PROCESSES_MAX)
        self.limits = Limits(memory, request["disk_bytes"], most)
        self.memory = Memory(allowed(memory))
        self.pause_s = limits.FIRST_PAUSE_S
        self.gpus = (0, 0)
        self._devices = request["env"].get("CUDA_VISIBLE_DEVICES", "")
        self._local = request["local"]
        self._began_s = self._looked_s = began_s
        self._next_disk_look_s = began_s + DISK_LOOK_S
        self._disk_bytes = 0
        self._moved = (0, 0, 0)  # CPU in ms, read and written KiB
        self._told_bytes = -1
        self._told_s = began_s
        self._cpu_milli = 0
        self._has_news = False
        self._series = Series()

    def allow(self, memory_bytes: int) -> None:
        self.limits = replace(self.limits, memory_bytes=memory_bytes)
        self.memory.suspect(allowed(memory_bytes))
        self._has_news = True

    def take(
        self,
        listed: Callable[[], list[Process]],
        ram_bytes: int,
        now_s: float,
        is_due: Callable[[], bool],
        still: Callable[[], AbstractContextManager[None]],
    ) -> tuple[Stop, str]:
        since_s = max(0.001, now_s - self._looked_s)
        self._looked_s = now_s
        before, family = self.memory.used_bytes, listed()
        alive = sum(process.is_alive for process in family)
        stop = limits.processes_passed(self.limits, alive)
        if stop[0] is not Stop.NONE:  # so many that measuring them would take longer than they live
            return stop
        if is_due():
            return stop
        highest = self.memory.look(family, listed, ram_bytes, is_due, still)
        used, most = self.memory.used_bytes, allowed(self.limits.memory_bytes)
        self.pause_s = limits.pause_s(self.pause_s, used, (used - before) / since_s, most)
        step = max(NEWS_BYTES_MIN, self.limits.memory_bytes // NEWS_SHARE)
        changed = self._told_bytes < 0 or abs(used - self._told_bytes) >= step
        self._has_news = self._has_news or changed or used > most
        if is_due():
            return stop
        self._series.add(self._point(family, highest, alive, since_s, now_s))
        return stop

    def is_disk_due(self, now_s: float) -> bool:
        return now_s >= self._next_disk_look_s

    def take_disk(self, used_bytes: int, began_s: float) -> tuple[Stop, str]:
        cost_s = time.monotonic() - began_s
        self._next_disk_look_s = began_s + max(DISK_LOOK_S, cost_s / DISK_SHARE_MAX)
        self._disk_bytes = used_bytes
        return limits.disk_passed(self.limits, used_bytes)

    def take_news(self, tell_s: float) -> list[Any] | None:
        if not self._has_news and self._looked_s - self._told_s < tell_s:
            return None
        self._has_news = False
        self._told_s = self._looked_s
        self._told_bytes = self.memory.used_bytes
        devices = self._devices.split(",") if self._devices else []
        figures = (self.memory.used_bytes, self.memory.peak_bytes, self.limits.memory_bytes)
        return [self._local, *figures, devices, self._cpu_milli]

    def ended(self, memory_bytes: int, now_s: float) -> bytes:
        at_ms = round(1000 * (now_s - self._began_s))
        self._series.add(Point(at_ms, _mib(memory_bytes), disk_mib=_mib(self._disk_bytes)))
        return self._series.encoded()

    def _point(
        self, family: Sequence[Process], memory: int, alive: int, since_s: float, now_s: float
    ) -> Point:
        """Return a point of the series: rates since the last look."""
        cpu_ms = sum(process.cpu_ms for process in family)
        read, written = moved_bytes([process.pid for process in family[:MOVED_MAX]])
        now, before = (cpu_ms, read >> 10, written >> 10), self._moved
        self._moved = now
        cpu, read_kib, written_kib = (
            round(max(0, new - old) / since_s) for new, old in zip(now, before, strict=True)
        )
        at_ms = round(1000 * (now_s - self._began_s))
        self._cpu_milli = cpu
        disk, (gpu_milli, gpu_mib) = _mib(self._disk_bytes), self.gpus
        rates = (cpu, read_kib, written_kib)
        return Point(at_ms, _mib(memory), *rates, disk, alive, gpu_milli, gpu_mib)


def _mib(size: int) -> int:
    return -(-size // MIB)


def _first(stop: tuple[Stop, str], other: tuple[Stop, str]) -> tuple[Stop, str]:
    return stop if stop[0] is not Stop.NONE else other
