"""Chooses the folder for what tasks write, and looks at what kind of filesystem it is on."""

from __future__ import annotations

import os
from pathlib import Path

from pilot.core.node import Scratch
from pilot.discovery import parse_system as parse
from pilot.discovery.system import text

DEFAULTS = ("/tmp", "/var/tmp")  # noqa: S108  looked at, nothing is made there here


def scratch(root: Path, told: tuple[str, ...]) -> Scratch:
    """Return the first folder told that is local; else /tmp or /var/tmp, better on a disk.

    Where everything told is shared and neither of those can be written, the first that was told.
    """
    seen = parse.mounts(text(root / "proc/self/mountinfo"))
    ours = [one for path in told if (one := look(path, seen)) is not None]
    others = [one for path in DEFAULTS if (one := look(path, seen)) is not None]
    others.sort(key=lambda one: one.is_ram)
    local = [one for one in (*ours, *others) if not one.is_shared]
    return next(iter([*local, *ours, *others]), Scratch(""))


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free where a folder is. Raises OSError."""
    free = os.statvfs(folder)
    return free.f_bavail * free.f_frsize


def look(path: str, mounts: tuple[parse.Mount, ...]) -> Scratch | None:
    """Return what a folder is; None where it is no folder that we can write."""
    try:
        place = os.path.realpath(path, strict=True)
        if not Path(place).is_dir() or not os.access(place, os.W_OK | os.X_OK):
            return None
        free = free_bytes(Path(place))
    except (OSError, ValueError):
        return None
    kind = parse.mount_of(place, mounts).filesystem
    return Scratch(
        path=place,
        filesystem=kind,
        free_bytes=free,
        is_ram=kind in parse.RAM_FILESYSTEMS,
        is_shared=kind in parse.SHARED_FILESYSTEMS,
    )
