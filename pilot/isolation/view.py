"""What a slot's tasks see of the node's files: a mount namespace built once.

Everything is read-only but the task's own directory and what the site names. Folders that are no
task's business are hidden under an empty folder. /tmp, /var/tmp and /dev/shm are one memory disk.
"""

# Descriptors and plain names here, not Path: these are mounts, not files of ours.
# ruff: noqa: PTH100, PTH102, PTH103, PTH110, PTH111, PTH112, PTH118, PTH120, PTH123, PTH208, PTH211

from __future__ import annotations

import contextlib
import errno
import os
import sys

from pilot.core.holding import Holding
from pilot.isolation import kernel

RAM_PLACES = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  they are what is replaced
RAM_FILES_MAX = 200_000

# Sockets there lead to services that would start programs outside: D-Bus, systemd, containerd.
_SERVICES = ("/run", "/var/run")
# Keys and tokens that a site's account keeps in its home.
_SECRETS = (".ssh", ".gnupg", ".globus", ".aws", ".config/pulk", ".config/systemd")

# As user 0 a task owns devices and the kernel's knobs, so it gets only these devices.
_DEVICES = (
    "null", "zero", "full", "random", "urandom", "tty", "fuse", "infiniband",
    "dri", "kfd", "mqueue",
)  # fmt: skip
_DEVICE_PREFIXES = ("nvidia", "hfi1", "cxi", "knem", "xpmem", "gdrdrv")
_DEVICE_LINKS = (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"))
KNOBS = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi")

_FLAGS = {
    "nosuid": kernel.MS_NOSUID,
    "nodev": kernel.MS_NODEV,
    "noexec": kernel.MS_NOEXEC,
    "noatime": kernel.MS_NOATIME,
    "nodiratime": kernel.MS_NODIRATIME,
    "relatime": kernel.MS_RELATIME,
}


def build(folder: str, holding: Holding) -> None:
    """Build the view in a fresh mount namespace; `folder` is the slot's directory.

    The caller keeps descriptors opened before for what it still needs. Raises OSError.
    """
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_SLAVE)
    folder = os.path.realpath(folder)
    shown = {path: _opened(path) for path in (*_visible(holding), *_real(holding.writable), folder)}
    changed = {*_real(holding.writable), folder}
    hidden = _hidden(folder, holding)
    ram = _real(RAM_PLACES)
    _all_read_only()
    if os.getuid() == 0:
        _own_devices()
    _mount_ram(ram, holding.ram_bytes)
    covers = [path for path in (*ram, *hidden) if not path.startswith("/dev/")]
    mounted = []
    for path in sorted({*hidden, *shown}, key=lambda one: one.count("/")):  # parents first
        if path in hidden and _can_be_hidden(path, list(shown)):
            kernel.mount("none", path, "tmpfs", _SAFE, "mode=0755,size=1m")
            mounted.append(path)
        if path in shown and (path in changed or _is_below(path, covers)):
            _bind(shown[path], path)
        if path in changed:
            _make_writable(path)
    for path in mounted:
        kernel.mount("none", path, flags=_READ_ONLY_AGAIN | _SAFE)
    for place in ram:
        _fix_what_is_in(place)
    for descriptor in shown.values():
        os.close(descriptor)


def ram_disk() -> int:
    """Open the memory disk of this namespace."""
    return os.open(RAM_PLACES[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def lock_knobs() -> None:
    """Make what user 0 owns in /proc read-only; elsewhere permissions do."""
    for name in KNOBS:
        path = f"/proc/{name}"
        if os.path.exists(path):
            kernel.mount(path, path, flags=kernel.MS_BIND | kernel.MS_REC)
            kernel.mount("none", path, flags=_READ_ONLY_AGAIN | _SAFE | kernel.MS_NOEXEC)


_SAFE = kernel.MS_NOSUID | kernel.MS_NODEV
_READ_ONLY_AGAIN = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY


def _visible(holding: Holding) -> list[str]:
    """Return what must be seen even where it lies in something hidden: our code, interpreter."""
    code = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return _real((sys.prefix, sys.base_prefix, code, *holding.visible))


def _hidden(folder: str, holding: Holding) -> list[str]:
    home = os.path.expanduser("~")
    secrets = [os.path.join(home, name) for name in _SECRETS]
    found = _real((os.path.dirname(folder), *holding.hidden, *secrets, *_SERVICES))
    return [path for path in _outermost(found) if path != "/"]


def _real(paths: tuple[str, ...]) -> list[str]:
    """Return folders that exist, without links, each once, in order."""
    found = [os.path.realpath(path) for path in paths]
    return [path for path in dict.fromkeys(found) if os.path.isdir(path)]


def _outermost(paths: list[str]) -> list[str]:
    return [path for path in paths if not _is_below(path, [one for one in paths if one != path])]


def _is_below(path: str, folders: list[str]) -> bool:
    return any(path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _can_be_hidden(path: str, shown: list[str]) -> bool:
    """Whether a folder is there; else it lies under what is hidden already.

    There it is made anew where something in it is shown.
    """
    if not os.path.isdir(path) and any(_is_below(one, [path]) for one in shown):
        os.makedirs(path)
    return os.path.isdir(path)


def _fix_what_is_in(place: str) -> None:
    """Let tasks not move or change what was made in a memory disk to show something."""
    for name in os.listdir(place):
        path = f"{place}/{name}"
        kernel.mount(path, path, flags=kernel.MS_BIND | kernel.MS_REC)
        kernel.mount("none", path, flags=_READ_ONLY_AGAIN | _SAFE)


def _opened(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _mount_ram(places: list[str], size: int) -> None:
    """Mount one memory disk at all places."""
    first, *rest = places
    kernel.mount("none", first, "tmpfs", _SAFE, f"mode=01777,size={size},nr_inodes={RAM_FILES_MAX}")
    for path in rest:
        kernel.mount(first, path, flags=kernel.MS_BIND)


def _bind(descriptor: int, path: str) -> None:
    """Show an open folder at a path, which is made where something hides it."""
    with contextlib.suppress(OSError):
        os.makedirs(path, exist_ok=True)
    kernel.mount(f"/proc/self/fd/{descriptor}", path, flags=kernel.MS_BIND | kernel.MS_REC)


def _all_read_only() -> None:
    try:
        kernel.set_read_only("/")
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        for path, flags in _mounts():
            with contextlib.suppress(FileNotFoundError, PermissionError):  # below another mount
                kernel.mount("none", path, flags=_READ_ONLY_AGAIN | flags)


def _make_writable(path: str) -> None:
    flags = next((flags for found, flags in reversed(_mounts()) if found == path), 0)
    kernel.mount("none", path, flags=kernel.MS_REMOUNT | kernel.MS_BIND | flags)


def _mounts() -> list[tuple[str, int]]:
    """Return every mount point with the flags that a remount must keep."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split()
            path = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
            options = fields[5].split(",")
            found.append((path, sum(_FLAGS.get(option, 0) for option in options)))
    return found


def _own_devices() -> None:
    """Put a few devices in place of /dev: user 0 owns the disks, and could read them."""
    names = [
        name for name in os.listdir("/dev") if name in _DEVICES or name.startswith(_DEVICE_PREFIXES)
    ]
    kept = [(name, os.open(f"/dev/{name}", os.O_PATH | os.O_CLOEXEC)) for name in names]
    kernel.mount("none", "/dev", "tmpfs", kernel.MS_NOSUID | kernel.MS_NOEXEC, "mode=0755,size=1m")
    for name, descriptor in kept:
        path = f"/dev/{name}"
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            os.mkdir(path)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        kernel.mount(f"/proc/self/fd/{descriptor}", path, flags=kernel.MS_BIND | kernel.MS_REC)
        os.close(descriptor)
    for name in ("shm", "pts"):
        os.mkdir(f"/dev/{name}")
    for name, target in (*_DEVICE_LINKS, ("ptmx", "pts/ptmx")):
        os.symlink(target, f"/dev/{name}")
    with contextlib.suppress(OSError):
        kernel.mount(
            "none", "/dev/pts", "devpts", kernel.MS_NOSUID | kernel.MS_NOEXEC,
            "newinstance,ptmxmode=0666,mode=0620",
        )  # fmt: skip
    kernel.mount("none", "/dev", flags=_READ_ONLY_AGAIN | kernel.MS_NOSUID | kernel.MS_NOEXEC)
