"""What the kernel says of cpus, memory, control groups and mounts. Pure: bytes in, values out.

Whatever is strange is passed over: a file that a later kernel writes in another way says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

CPUS_MAX = 1 << 16
NUMBER_DIGITS_MAX = 20
RAM_FILESYSTEMS = frozenset({"tmpfs", "ramfs", "hugetlbfs"})
SHARED_FILESYSTEMS = frozenset({"nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "fuse.ceph"})
SHARED_FILESYSTEMS |= {"afs", "cifs", "smb3", "pvfs2", "panfs", "orangefs", "wekafs", "9p"}
SHARED_FILESYSTEMS |= {"glusterfs", "fuse.glusterfs", "fuse.sshfs"}
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted filesystem: where, and of which type."""

    path: str
    filesystem: str


@dataclass(frozen=True, slots=True)
class Group:
    """One line of /proc/PID/cgroup; no controllers: version 2."""

    controllers: tuple[str, ...]
    path: str


def number(text: str | bytes) -> int:
    """Return a number as the kernel writes it; -1 for `max` and for anything else."""
    word = _text(text).strip()
    ok = word.isascii() and word.isdecimal() and len(word) <= NUMBER_DIGITS_MAX
    return int(word) if ok else -1


def cpu_list(raw: bytes) -> tuple[int, ...]:
    """Return the cpus of a list such as `0-3,8,10-11`, ascending; what is no range is left out."""
    found: set[int] = set()
    for part in _text(raw).strip().split(","):
        first, dash, last = part.partition("-")
        low, high = number(first), number(last if dash else first)
        if 0 <= low <= high < CPUS_MAX:
            found.update(range(low, high + 1))
    return tuple(sorted(found))


def quota_milli(raw: bytes) -> int:
    """Return milli-cores of a version 2 `cpu.max`; 0 without a limit."""
    words = _text(raw).split()
    return _share(number(words[0]), number(words[1])) if len(words) == 2 else 0


def quota_v1_milli(quota: bytes, period: bytes) -> int:
    """Return milli-cores of `cpu.cfs_quota_us` and `cpu.cfs_period_us`; 0 without a limit."""
    return _share(number(quota), number(period))


def limit_bytes(raw: bytes) -> int:
    """Return a limit of memory or swap in bytes; 0 without one (`max`, or the largest number)."""
    found = number(raw)
    return found if 0 < found < 1 << 62 else 0


def meminfo_bytes(raw: bytes) -> dict[str, int]:
    """Return the rows of /proc/meminfo that are sizes, in bytes."""
    found: dict[str, int] = {}
    for line in _text(raw).splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and (kib := number(words[0])) >= 0:
            found[name.strip()] = kib * 1024
    return found


def cpu_ticks(raw: bytes) -> tuple[int, int]:
    """Return how long all cpus together were busy, and busy or idle, from /proc/stat."""
    words = _text(raw).partition("\n")[0].split()[1:9]  # guests' time is part of the first two
    ticks = [max(0, number(one)) for one in words]
    return sum(ticks) - sum(ticks[3:5]), sum(ticks)


def groups(raw: bytes) -> tuple[Group, ...]:
    """Return the control groups of a process, from /proc/PID/cgroup."""
    found = []
    for line in _text(raw).splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3 and parts[2].startswith("/") and ".." not in parts[2].split("/"):
            controllers = tuple(one for one in parts[1].split(",") if one)
            found.append(Group(controllers, parts[2]))
    return tuple(found)


def mounts(raw: bytes) -> tuple[Mount, ...]:
    """Return the mounts of /proc/self/mountinfo, in the order in which they were made."""
    found = []
    for line in raw.decode(errors="surrogateescape").splitlines():
        before, dash, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if dash and len(fields) >= 5 and kinds[0] and fields[4].startswith("/"):
            found.append(Mount(_ESCAPE.sub(_unescaped, fields[4]), kinds[0]))
    return tuple(found)


def mount_of(path: str, all_mounts: tuple[Mount, ...]) -> Mount:
    """Return the mount that a resolved path lies on; of two at one place, the later."""
    best = Mount("", "")
    for one in all_mounts:
        inside = path == one.path or path.startswith(one.path.rstrip("/") + "/")
        if inside and len(one.path) >= len(best.path):
            best = one
    return best


def cpu_model(raw: bytes) -> str:
    """Return the model of the first cpu of /proc/cpuinfo; empty where none is named."""
    for line in _text(raw).splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return ""


def classad(raw: bytes) -> dict[str, str | int | float]:
    """Return the attributes of an old-syntax ClassAd that are plain values, by name in lower case.

    Texts without their quotes, numbers as numbers; expressions, booleans and lists are left out.
    """
    return dict(_attributes(_text(raw)))


def _attributes(text: str) -> Iterator[tuple[str, str | int | float]]:
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name.replace("_", "").isalnum() or not name.isascii():
            continue
        if len(value) >= 2 and value[0] == value[-1] == '"':
            yield name.lower(), value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
        elif re.fullmatch(r"-?[0-9]{1,18}", value, re.ASCII):
            yield name.lower(), int(value)
        elif re.fullmatch(r"-?[0-9]{1,15}\.[0-9]{1,30}", value, re.ASCII):
            yield name.lower(), float(value)


def _share(quota: int, period: int) -> int:
    return max(1, 1000 * quota // period) if quota > 0 and period > 0 else 0


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 8) & 0xFF)


def _text(raw: str | bytes) -> str:
    return raw if isinstance(raw, str) else raw.decode(errors="replace")
