"""Emptying a folder that tasks wrote into, however deep, however many, whatever its modes are.

Nothing of the task runs any more. No link is followed, no mount point entered, nothing recurses.
"""

# Descriptors and plain names here, not Path: this runs for every task.
# ruff: noqa: PTH208

from __future__ import annotations

import os
import stat

from pilot import linux

_MOVED = ".pulk-moved-"


def empty(top: int, kept: frozenset[int] = frozenset()) -> None:
    """Remove everything in an open folder, but what has an inode in `kept`.

    A folder inside a folder is moved up before it is looked into: so no path grows too long.
    Raises OSError where something cannot be removed.
    """
    names = os.listdir(top)
    if not names:
        return
    os.fchmod(top, stat.S_IMODE(os.fstat(top).st_mode) | stat.S_IRWXU)
    device = os.fstat(top).st_dev
    todo = []
    for name in names:
        try:
            os.unlink(name, dir_fd=top)
        except (IsADirectoryError, PermissionError):
            todo.append(name)
    count = 0
    while todo:
        name = todo.pop()
        found = os.stat(name, dir_fd=top, follow_symlinks=False)
        if found.st_dev != device or found.st_ino in kept:
            continue
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=top)
            continue
        folder = _unlocked(name, top)
        try:
            for inner in os.listdir(folder):
                try:
                    os.unlink(inner, dir_fd=folder)
                except (IsADirectoryError, PermissionError):
                    os.close(_unlocked(inner, folder))  # to move a folder it must be writable
                    count += 1
                    todo.append(_move_up(inner, folder, top, count))
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=top)


def inodes(top: int) -> frozenset[int]:
    """Return the inodes of what an open folder holds."""
    names = os.listdir(top)
    return frozenset(os.stat(one, dir_fd=top, follow_symlinks=False).st_ino for one in names)


def _unlocked(name: str, parent: int) -> int:
    """Open a folder, readable and writable for its owner."""
    os.chmod(name, stat.S_IRWXU, dir_fd=parent)  # no link: it was looked at, and nobody runs
    return os.open(name, linux.FOLDER, dir_fd=parent)


def _move_up(name: str, folder: int, top: int, count: int) -> str:
    while True:
        moved = f"{_MOVED}{count}"
        try:
            os.stat(moved, dir_fd=top, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=top)
            return moved
        count += 1_000_003
