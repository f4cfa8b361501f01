"""Facts about the node: what the records say of the host, its room, and samples of its load."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bundle.records.segment import Host
from bundle.records.telemetry import Sample
from pilot.core.cores import Core
from pilot.core.room import UNBOUNDED, WHOLE, Room

MIB = 1 << 20


def describe(offline: str) -> Host:
    """Return the facts of this node that travel in every segment."""
    room = whole_room()
    return Host(
        name=platform.node(),
        kernel=f"{platform.system()} {platform.release()}",
        cpu_model=_cpu_model(),
        cores=max(1, room.cpu_milli // 1000),
        memory_mib=room.memory_mib,
        boot_id=boot_id(),
        python=platform.python_version(),
        pulk=_pulk_version(),
        offline=offline,
    )


def boot_id() -> str:
    """Return what tells one boot of this node from another."""
    return _text("/proc/sys/kernel/random/boot_id").strip()


def cores() -> list[Core]:
    """Return the cores that this process may use."""
    return [(number, 0) for number in sorted(os.sched_getaffinity(0))]


def whole_room(scratch: Path | None = None, gpus: int = 0) -> Room:
    """Return what this process may use: cores by affinity, memory, both by control groups.

    `scratch` is where tasks write; `gpus` is how many devices there are.
    """
    milli = len(os.sched_getaffinity(0)) * 1000
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for folder in _control_groups():
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if quota.isdecimal() and period.strip().isdecimal():
            milli = min(milli, 1000 * int(quota) // int(period))
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _text(folder / name).strip()
            if limit.isdecimal():
                memory = min(memory, int(limit))
    disk_bytes = UNBOUNDED
    if scratch is not None:
        free = os.statvfs(scratch)
        disk_bytes = free.f_bavail * free.f_frsize
    return Room(max(1, milli), max(1, memory // MIB), disk_bytes, (WHOLE,) * gpus)


class Samples:
    """Looks at the node every few seconds; psutil is imported with the first look."""

    def __init__(self, disk: Path) -> None:
        """Watch the filesystem that holds `disk`."""
        self._disk = disk

    def take(self, running: int) -> Sample:
        """Return a sample; cpu is the average since the last one."""
        import psutil

        free = os.statvfs(self._disk)
        share = psutil.cpu_percent(interval=None)
        return Sample(
            at_us=time.time_ns() // 1000,
            cpu_milli=round(share * 10 * (os.cpu_count() or 1)),
            memory_used_mib=psutil.virtual_memory().used // MIB,
            disk_free_bytes=free.f_bavail * free.f_frsize,
            running=running,
        )


def _control_groups() -> list[Path]:
    """Return this process's control group and those above it, version 2 and version 1 memory."""
    found: list[Path] = []
    for line in _text("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = Path("/sys/fs/cgroup/memory" if controllers else "/sys/fs/cgroup")
        here = root / path.lstrip("/")
        found += [here, *(one for one in here.parents if one.is_relative_to(root))]
    return found


def _cpu_model() -> str:
    for line in _text("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _pulk_version() -> str:
    try:
        return version("pulk")
    except PackageNotFoundError:
        return f"unpacked, Python {sys.version_info.major}.{sys.version_info.minor}"


def _text(path: str | Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return Path(path).read_text()
    return ""
