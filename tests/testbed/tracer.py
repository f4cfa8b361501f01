"""Watching the system calls of a process that tests started, and striking at one of them.

Where a call is struck it has not happened yet. Works through ptrace, on Linux with x86-64 or arm64.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import signal
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_GETREGS, _SETREGS, _CONT, _SYSCALL = 12, 13, 7, 24
_SEIZE, _INTERRUPT, _GET_SYSCALL_INFO = 0x4206, 0x4207, 0x420E
_OPTIONS = 0x1 | 0x8  # TRACESYSGOOD, TRACECLONE
_ENTRY, _EXIT = 1, 2
_WALL = 0x40000000
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_EVENT_STOP = 128
_ORIG_RAX, _RAX, _REGISTERS = 15, 10, 27

# What changes files, or tells another program something, by its number.
_X86_64 = {
    1: "write", 18: "pwrite64", 20: "writev", 40: "sendfile", 44: "sendto", 45: "recvfrom",
    46: "sendmsg", 47: "recvmsg", 74: "fsync", 75: "fdatasync", 76: "truncate", 77: "ftruncate",
    82: "rename", 83: "mkdir", 84: "rmdir", 86: "link", 87: "unlink", 90: "chmod", 91: "fchmod",
    257: "openat", 258: "mkdirat", 263: "unlinkat", 264: "renameat", 265: "linkat",
    268: "fchmodat", 285: "fallocate", 296: "pwritev", 306: "syncfs", 316: "renameat2",
}  # fmt: skip
_ARM64 = {
    34: "mkdirat", 35: "unlinkat", 37: "linkat", 38: "renameat", 45: "truncate", 46: "ftruncate",
    47: "fallocate", 52: "fchmod", 53: "fchmodat", 56: "openat", 64: "write", 66: "writev",
    68: "pwrite64", 70: "pwritev", 71: "sendfile", 82: "fsync", 83: "fdatasync", 206: "sendto",
    207: "recvfrom", 211: "sendmsg", 212: "recvmsg", 267: "syncfs", 276: "renameat2",
}  # fmt: skip
_NAMES = {"x86_64": _X86_64, "aarch64": _ARM64}
_ON_FILES = frozenset(
    {"write", "pwrite64", "writev", "sendto", "recvfrom", "sendmsg", "recvmsg", "fsync"}
    | {"fdatasync", "ftruncate", "fchmod", "fallocate", "pwritev", "syncfs"}
)
_SENDS = frozenset({"write", "sendto"})


class Unavailable(Exception):
    """Nothing can be watched here; the text says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """A system call at its beginning. `target`: what its first argument stands for, if a file."""

    pid: int
    name: str
    target: str
    data: bytes  # the first bytes of what it sends


Strike = Callable[[Call], int]  # returns 0, or an errno that the call fails with


def check() -> None:
    """Raise Unavailable where nothing can be watched."""
    if platform.machine() not in _NAMES:
        raise Unavailable(f"no table of system calls of {platform.machine()}")
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        _ptrace(_SEIZE, child, _OPTIONS)
    except OSError as error:
        raise Unavailable(f"ptrace: {error.strerror}") from error
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


class Watch:
    """One process, all its threads, watched until it ends. Everything from one thread."""

    def __init__(self, pid: int, strike: Strike) -> None:
        """Watch a process from now on; `strike` is asked at every call that is in the table."""
        self.pid, self._strike = pid, strike
        self._names = _NAMES[platform.machine()]
        self._failing: dict[int, int] = {}  # threads whose call is to fail, and how
        for task in Path(f"/proc/{pid}/task").iterdir():
            _ptrace(_SEIZE, int(task.name), _OPTIONS)
            _ptrace(_INTERRUPT, int(task.name), 0)

    def until_end(self, *, alone: bool = False) -> int:
        """Let it run; return its wait status.

        `alone`: it has one thread, and this process has other children.
        """
        while True:
            try:
                pid, status = os.waitpid(self.pid if alone else -1, _WALL)
            except ChildProcessError:
                return 0
            if os.WIFSTOPPED(status):
                self._go_on(pid, status)
            elif pid == self.pid:
                return status

    def _go_on(self, pid: int, status: int) -> None:
        number, passed = os.WSTOPSIG(status), 0
        if number == _SYSCALL_STOP:
            self._at_call(pid)
        elif status >> 16 == 0:  # a signal of its own, not an event of ours
            passed = number
        with contextlib.suppress(ProcessLookupError):
            _ptrace(_SYSCALL, pid, passed)

    def _at_call(self, pid: int) -> None:
        raw = ctypes.create_string_buffer(88)
        try:
            _ptrace(_GET_SYSCALL_INFO, pid, ctypes.addressof(raw), size=len(raw))
        except ProcessLookupError:
            return
        if raw.raw[0] == _EXIT and pid in self._failing:
            _set_register(pid, _RAX, -self._failing.pop(pid))
        elif raw.raw[0] == _ENTRY:
            number, *given = struct.unpack_from("=7Q", raw.raw, 24)
            name = self._names.get(number)
            if name is None or (name == "openat" and not given[2] & os.O_CREAT):
                return
            fails = self._strike(_call(pid, name, given))
            if fails:
                _set_register(pid, _ORIG_RAX, -1)
                self._failing[pid] = fails


def _call(pid: int, name: str, given: list[int]) -> Call:
    target, data = "", b""
    with contextlib.suppress(OSError):
        if name in _ON_FILES:
            target = str(Path(f"/proc/{pid}/fd/{given[0]}").readlink())
        if name in _SENDS:
            with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
                memory.seek(given[1])
                data = memory.read(min(given[2], 256))
    return Call(pid, name, target, data)


def _set_register(pid: int, place: int, value: int) -> None:
    if platform.machine() != "x86_64":
        raise Unavailable("calls are made to fail on x86-64 only")
    raw = (ctypes.c_longlong * _REGISTERS)()
    _ptrace(_GETREGS, pid, ctypes.addressof(raw))
    raw[place] = value
    _ptrace(_SETREGS, pid, ctypes.addressof(raw))


def _ptrace(request: int, pid: int, data: int, *, size: int = 0) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    done = libc.ptrace(
        ctypes.c_long(request), ctypes.c_long(pid), ctypes.c_void_p(size), ctypes.c_void_p(data)
    )
    if done < 0:
        number = ctypes.get_errno()
        if number == errno.ESRCH:
            raise ProcessLookupError(number, "gone")
        raise OSError(number, os.strerror(number))
    return int(done)
