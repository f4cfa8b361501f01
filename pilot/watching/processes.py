"""One look at every process below this one; the files of /proc stay open from look to look.

A look reads two small files for each process, opened once. What costs more is read of few: the
split of a large process's memory into its own and mapped files, and the proportional figure.
"""

# Descriptors and plain names here, not Path: this runs at every look.
# ruff: noqa: PTH208

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pilot import linux

KEPT_OPEN_MAX = 256  # processes; more are opened at every look
SEEN_MAX = 2048  # at one look: who bears them faster than they are counted has too many already
ASK_EVERY = 4  # processes, whether the caller can go on waiting
READ_BYTES = 16 << 10
_PIECE_BYTES = 2 << 10  # fewer were the end of a list
_FLAGS = os.O_RDONLY | os.O_CLOEXEC
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICK_MS = 1000 // os.sysconf("SC_CLK_TCK")

# A slot may show its tasks another /proc; what is read here is always the node's.
_PROC = linux.PROC


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one look. `cpu_ms` holds the children that it waited for."""

    pid: int
    resident_bytes: int
    cpu_ms: int
    is_alive: bool = True


@dataclass(frozen=True, slots=True)
class Split:
    """A process's memory in bytes: its own and shared pages, mapped files', and its highest."""

    own: int
    file: int
    highest: int


@dataclass(frozen=True, slots=True)
class Shares:
    """A process's memory in bytes: with shared pages divided, and what no other process has."""

    proportional: int
    private: int


class _Open:
    """The open files of one process; reading one that is gone raises ProcessLookupError."""

    __slots__ = ("children", "pid", "single", "stat")

    def __init__(self, pid: int) -> None:
        """Open. Raises OSError where the process is gone."""
        self.pid = pid
        self.single = True
        self.stat = os.open(f"{pid}/stat", _FLAGS, dir_fd=_PROC)
        try:
            self.children = os.open(f"{pid}/task/{pid}/children", _FLAGS, dir_fd=_PROC)
        except OSError:
            self.children = -1

    def close(self) -> None:
        os.close(self.stat)
        if self.children >= 0:
            os.close(self.children)

    def look(self) -> Process:
        fields = os.pread(self.stat, READ_BYTES, 0).rpartition(b")")[2].split()
        self.single = fields[17] == b"1"
        ticks = int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])
        return Process(self.pid, int(fields[21]) * _PAGE_BYTES, ticks * _TICK_MS, fields[0] != b"Z")

    def below(self) -> list[int]:
        if not self.single or self.children < 0:
            return _children(self.pid)
        pids = piece = os.pread(self.children, READ_BYTES, 0)
        while len(piece) >= _PIECE_BYTES:  # the kernel gives a page at a time
            piece = os.pread(self.children, READ_BYTES, len(pids))
            pids += piece
        return list(map(int, pids.split()))


class Processes:
    """The processes below this one."""

    def __init__(self) -> None:
        """Start with nothing open but the own list of children."""
        self._open: dict[int, _Open] = {}
        self._can_list = os.access(f"/proc/self/task/{os.getpid()}/children", os.R_OK)

    def look(
        self, spared: Collection[int] = (), is_due: Callable[[], bool] = lambda: False
    ) -> list[Process]:
        """Return every process below this one but the `spared`, whose children count all the same.

        What starts or ends meanwhile may be missing, and the rest once `is_due`.
        """
        parents = None if self._can_list else _scan()
        kept, self._open = self._open, {}
        found: list[Process] = []
        todo = _children(os.getpid()) if parents is None else parents.get(os.getpid(), [])
        seen: set[int] = set()
        while todo and len(seen) < SEEN_MAX:
            pid = todo.pop()
            if pid in seen:
                continue
            seen.add(pid)
            if len(seen) % ASK_EVERY == 0 and is_due():
                break
            try:
                one = kept.pop(pid, None) or _Open(pid)
            except OSError:
                continue
            try:
                process = one.look()
                todo += one.below() if parents is None else parents.get(pid, [])
            except (OSError, IndexError, ValueError):
                one.close()
                continue
            if pid not in spared:
                found.append(process)
            if len(self._open) < KEPT_OPEN_MAX:
                self._open[pid] = one
            else:
                one.close()
        for one in kept.values():
            one.close()
        return found

    def close(self) -> None:
        """Close what is open: the task is over."""
        for one in self._open.values():
            one.close()
        self._open.clear()


def split(pid: int) -> Split | None:
    """Return how a process's memory is made up; None where it is gone.

    Memory that was swapped out is its own too.
    """
    try:
        lines = _read(f"{pid}/status").splitlines()
    except OSError:
        return None
    facts = _facts(lines)
    resident = facts.get(b"VmRSS", 0)
    file = facts.get(b"RssFile", 0)  # kernels before 4.5 do not tell: all is its own then
    return Split(resident - file + facts.get(b"VmSwap", 0), file, facts.get(b"VmHWM", resident))


def shares(pid: int) -> Shares | None:
    """Return a process's part of shared memory; None where it is gone or the kernel can't tell.

    Clean pages of mapped files, which the kernel can drop, do not count. This walks the page
    tables, milliseconds for each GiB.
    """
    try:
        lines = _read(f"{pid}/smaps_rollup").splitlines()
    except OSError:
        return None
    facts = _facts(lines[1:])
    swapped = facts.get(b"SwapPss", 0)
    private = facts.get(b"Private_Dirty", 0)
    if b"Pss_Anon" in facts:
        mine = facts[b"Pss_Anon"] + facts.get(b"Pss_Shmem", 0)
        return Shares(mine + swapped, private + swapped)
    if b"Pss" not in facts:
        return None
    clean = facts.get(b"Private_Clean", 0)
    return Shares(max(private, facts[b"Pss"] - clean) + swapped, private + swapped)


def _facts(lines: list[bytes]) -> dict[bytes, int]:
    """Read `name: number kB`, in bytes."""
    facts = {}
    for line in lines:
        name, _, value = line.partition(b":")
        if value.endswith(b"kB"):
            facts[name] = int(value[:-2]) * 1024
    return facts


def moved_bytes(pids: Collection[int]) -> tuple[int, int]:
    """Return what processes and the children they waited for read and wrote, caches included."""
    read = written = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = _read(f"{pid}/io").split()
            read, written = read + int(fields[1]), written + int(fields[3])
    return read, written


def _children(pid: int) -> list[int]:
    """Return the direct children of all threads of a process; none where it is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        tasks = os.open(f"{pid}/task", _FLAGS | os.O_DIRECTORY, dir_fd=_PROC)
        try:
            for thread in os.listdir(tasks):
                with contextlib.suppress(OSError):
                    found += map(int, _read(f"{thread}/children", tasks).split())
        finally:
            os.close(tasks)
    return found


def _scan() -> dict[int, list[int]]:
    """Return the children of every process of the node, on kernels that do not list them."""
    found: dict[int, list[int]] = {}
    here = os.open(".", _FLAGS | os.O_DIRECTORY, dir_fd=_PROC)
    try:
        names = os.listdir(here)
    finally:
        os.close(here)
    for name in names:
        if name.isdecimal():
            with contextlib.suppress(OSError, IndexError, ValueError):
                stat = _read(f"{name}/stat").rpartition(b")")[2].split()
                found.setdefault(int(stat[1]), []).append(int(name))
    return found


def _read(path: str, folder: int = _PROC) -> bytes:
    descriptor = os.open(path, _FLAGS, dir_fd=folder)
    try:
        raw = os.read(descriptor, READ_BYTES)
        while piece := os.read(descriptor, READ_BYTES):  # most files come in one piece
            raw += piece
        return raw
    finally:
        os.close(descriptor)
