"""The few Linux calls that Python 3.11 lacks, and what /proc tells."""

# Descriptors and plain names here, not Path: this runs for every task.
# ruff: noqa: PTH208

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a folder is opened in which names are looked up, where a task could have laid a link."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_MASKS = frozenset({b"SigBlk:", b"SigIgn:", b"SigCgt:"})

_libc = ctypes.CDLL(None, use_errno=True)

# A slot shows its tasks another /proc; what this module reads is always the node's.
PROC = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

# Processes of ours below a slot that belong to no task.
spared: set[int] = set()


def become_subreaper() -> None:
    """Adopt orphaned descendants instead of leaving them to init."""
    _checked(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def die_with_parent(number: signal.Signals) -> None:
    """Ask for a signal when the parent ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0), "prctl")


def call_this(name: str) -> None:
    """Give this process the name that `ps -o comm` shows; 15 bytes of it count."""
    _checked(_libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0), "prctl")


def unshare(flags: int) -> None:
    """Leave namespaces. Raises OSError."""
    _checked(_libc.unshare(flags), "unshare")


def sync_filesystem(descriptor: int) -> None:
    """Write everything of the filesystem that holds an open file. Raises OSError."""
    _checked(_libc.syncfs(descriptor), "syncfs")


def keep_own_ids(uid: int, gid: int) -> None:
    """In a new user namespace, map the caller's own uid and gid to themselves. Raises OSError."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def bring_loopback_up() -> None:
    """Bring `lo` up in the current network namespace. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        ask = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(end, _SIOCGIFFLAGS, ask), 16)
        fcntl.ioctl(end, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def start_ticks() -> int:
    """Return when this process started, in clock ticks since the node's boot."""
    return int(_read("self/stat").rpartition(b")")[2].split()[19])


def children(pid: int) -> list[int]:
    """Return the direct children of a process, of all its threads; none where it is gone."""
    found: list[int] = []
    try:
        threads = _names(f"{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            found += map(int, _read(f"{pid}/task/{thread}/children").split())
        except FileNotFoundError:
            if _exists(f"{pid}/task/{thread}"):  # a kernel without that file
                return _children_by_scan(pid)
        except OSError:
            continue
    return found


def threads(pid: int) -> list[int]:
    """Return the threads of a process; none where it is gone."""
    try:
        return [int(name) for name in _names(f"{pid}/task")]
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    """Return every process below one, parents before children; of `spared` only those below."""
    found: list[int] = []
    todo = [pid]
    while todo:
        for child in children(todo.pop()):
            if child not in spared:
                found.append(child)
            todo.append(child)
    return found


def is_ready_for(pid: int, number: signal.Signals) -> bool:
    """Return whether a process catches, blocks or ignores a signal, which would else end it.

    False where it is gone. Source: proc_pid_status(5), masks in hex, signal 1 in the lowest bit.
    """
    try:
        lines = _read(f"{pid}/status").split(b"\n")
    except OSError:
        return False
    masks = [int(line[7:], 16) for line in lines if line[:7] in _MASKS]
    return any(mask >> (number - 1) & 1 for mask in masks)


def read_and_written_bytes(pid: int) -> tuple[int, int]:
    """Return what a process and the children it waited for read and wrote, caches included."""
    try:
        fields = _read(f"{pid}/io").split()
        return int(fields[1]), int(fields[3])  # rchar, wchar
    except (OSError, IndexError, ValueError):
        return 0, 0


def kernel_oom_kills() -> int:
    """Return how often the kernel killed for lack of memory since it started."""
    try:
        _, _, rest = _read("vmstat").partition(b"oom_kill ")
        return int(rest.split(None, 1)[0])
    except (OSError, IndexError, ValueError):
        return 0


def _children_by_scan(pid: int) -> list[int]:
    return [child for child, parent in _every_process() if parent == pid]


def _every_process() -> Iterator[tuple[int, int]]:
    for name in _names("."):
        if name.isdecimal():
            try:
                stat = _read(f"{name}/stat")
            except OSError:
                continue
            yield int(name), int(stat.rpartition(b")")[2].split()[1])


def _names(path: str) -> list[str]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=PROC)
    try:
        return os.listdir(descriptor)
    finally:
        os.close(descriptor)


def _exists(path: str) -> bool:
    with contextlib.suppress(OSError):
        os.stat(path, dir_fd=PROC)
        return True
    return False


def _read(path: str) -> bytes:
    """Read a file of the /proc that this process was started with."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=PROC)
    try:
        pieces = []
        while piece := os.read(descriptor, 1 << 16):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def _checked(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {errno.errorcode.get(number, number)}")
