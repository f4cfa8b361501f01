"""Reads cores, NUMA nodes, quotas and memory from a running Linux; `root` is / or a copy of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle.limits import MIB
from pilot.core.node import Core, least
from pilot.discovery import parse_system as parse

READ_BYTES_MAX = 1 << 20
_GROUPS = "sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory and swap that this process may use, in MiB, and what stands of it unlimited."""

    memory_mib: int
    swap_mib: int
    node_mib: int


def text(path: Path) -> bytes:
    """Return a small file's bytes; nothing where it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(READ_BYTES_MAX)
    except (OSError, ValueError):
        return b""


def has_gpus(root: Path) -> bool:
    """Return whether there are devices that a GPU maker's tool could show."""
    return any(root.glob("dev/nvidia[0-9]*")) or (root / "dev/kfd").exists()


def cores(root: Path, numbers: frozenset[int]) -> tuple[Core, ...]:
    """Return the cpus of an affinity with their NUMA nodes."""
    numa: dict[int, int] = {}
    for folder in sorted((root / "sys/devices/system/node").glob("node[0-9]*")):
        node = parse.number(folder.name[4:])
        numa |= dict.fromkeys(parse.cpu_list(text(folder / "cpulist")), node)
    return tuple(Core(one, max(0, numa.get(one, 0))) for one in sorted(numbers))


def quotas_milli(root: Path) -> tuple[int, ...]:
    """Return the cpu quotas of all control groups that this process is in."""
    found = []
    for folder in _folders(root, "cpu"):
        found.append(parse.quota_milli(text(folder / "cpu.max")))
        quota, period = (text(folder / f"cpu.cfs_{one}_us") for one in ("quota", "period"))
        found.append(parse.quota_v1_milli(quota, period))
    return tuple(one for one in found if one)


def memory(root: Path) -> Memory:
    """Return the memory of the node, less what lies in RAM filesystems, within all limits."""
    rows = parse.meminfo_bytes(text(root / "proc/meminfo"))
    whole = rows.get("MemTotal", 0)
    if not whole:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    left = max(MIB, whole - rows.get("Shmem", 0) - rows.get("Hugetlb", 0))
    swap = rows.get("SwapTotal", 0)
    limits = [left]
    for folder in _folders(root, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            limits.append(parse.limit_bytes(text(folder / name)))
        if (more := text(folder / "memory.swap.max")) and parse.number(more) >= 0:
            swap = min(swap, parse.number(more))
        both = parse.limit_bytes(text(folder / "memory.memsw.limit_in_bytes"))
        if both and (alone := parse.limit_bytes(text(folder / "memory.limit_in_bytes"))):
            swap = min(swap, max(0, both - alone))
    return Memory(max(1, least(*limits) // MIB), swap // MIB, whole // MIB)


def memory_groups(root: Path = Path("/")) -> tuple[Path, ...]:
    """Return the folders of this process's memory control groups, the innermost first."""
    return tuple(_folders(root, "memory"))


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the process's control groups for a controller, and those above."""
    for group in parse.groups(text(root / "proc/self/cgroup")):
        if group.controllers and controller not in group.controllers:
            continue
        tops = (",".join(group.controllers), controller) if group.controllers else ("", "unified")
        for top in dict.fromkeys(tops):
            base = root / _GROUPS / top
            if not base.is_dir():
                continue
            here = base / group.path.lstrip("/")
            yield here
            yield from (one for one in here.parents if one.is_relative_to(base))
            break
