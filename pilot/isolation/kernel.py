"""The Linux calls that isolation needs: mounts, capabilities, what a process may be asked."""

from __future__ import annotations

import ctypes
import errno
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_RELATIME = 1 << 10, 1 << 11, 1 << 21
MS_BIND, MS_REC, MS_SLAVE = 1 << 12, 1 << 14, 1 << 19

_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_SYS_MOUNT_SETATTR = 442  # the same number on every architecture
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91, "ppc64le": 184}
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_SECUREBITS, _PR_SET_NO_NEW_PRIVS = 4, 24, 28, 38
_NO_ROOT_NO_SETUID_FIXUP_LOCKED = 0x0F
_CAPABILITIES = 64

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount, bind or remount. Raises OSError that names the target."""
    result = _libc.mount(
        source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode()
    )
    _check(result, f"mount {target}")


def set_read_only(target: str) -> None:
    """Make a mount and all below it read-only. Raises OSError; ENOSYS before Linux 5.12."""
    attributes = (ctypes.c_uint64 * 4)(MS_RDONLY, 0, 0, 0)
    result = _libc.syscall(
        _SYS_MOUNT_SETATTR,
        _AT_FDCWD,
        os.fsencode(target),
        _AT_RECURSIVE,
        ctypes.byref(attributes),
        ctypes.sizeof(attributes),
    )
    _check(result, f"mount_setattr {target}")


def enter_namespace(descriptor: int, kind: int) -> None:
    """Enter a namespace that a file of /proc stands for. Raises OSError."""
    _check(_libc.setns(descriptor, kind), "setns")


def hide_memory() -> None:
    """Let nobody of the same account trace this process or read its memory and descriptors.

    The next program that this process executes may be traced again.
    """
    _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")


def show_memory() -> None:
    """Undo `hide_memory`, for a fork that became a task."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl")


def gain_nothing_more() -> None:
    """Let no program that this thread starts gain rights by set-user-id bits or file capabilities.

    Lasts for ever, for this thread and what it starts.
    """
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def drop_capabilities() -> None:
    """Drop every capability of this thread for ever; user 0 gains none by executing.

    To be called while the thread still has them. Raises OSError.
    """
    for number in range(_CAPABILITIES):
        if _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            break  # the kernel knows no more than so many
    _check(_libc.prctl(_PR_SET_SECUREBITS, _NO_ROOT_NO_SETUID_FIXUP_LOCKED, 0, 0, 0), "prctl")
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    call = getattr(_libc, "capset", None)
    if call is None:
        result = _libc.syscall(
            _SYS_CAPSET[os.uname().machine], ctypes.byref(header), ctypes.byref(nothing)
        )
    else:
        result = call(ctypes.byref(header), ctypes.byref(nothing))
    _check(result, "capset")


def version() -> tuple[int, int]:
    """Return the kernel's version, major and minor."""
    major, _, rest = os.uname().release.partition(".")
    minor = "".join(one for one in rest.partition(".")[0] if one.isdecimal())
    return int(major), int(minor or 0)


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {errno.errorcode.get(number, number)}")
