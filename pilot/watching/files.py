"""Why a task could not write: a file reached the limit on its size, or the disk takes no more.

Programs see an error of their own then, and fail with it; so it is looked for after a failure.
"""

from __future__ import annotations

import contextlib
import os

from pilot.core.fingerprints import FULL

FILE_BYTES_MIN = 1 << 20  # a log must fit even where a task asks for no disk
ROOM_BYTES = 1 << 16
_ROOM = ".pulk-room"


def file_bytes_max(disk_bytes: int) -> int:
    """Return how large one file of a task may become."""
    return max(disk_bytes, FILE_BYTES_MIN)


def full_file_bytes(limit_bytes: int, log_bytes: int, folder: str = ".") -> int:
    """Return the size of a file that was written up to the limit; 0 where there is none.

    The kernel cuts the write that reaches the limit, so such a file has exactly that size; a
    larger one is an input.
    """
    if log_bytes == limit_bytes:
        return log_bytes
    todo = [folder]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    elif entry.stat(follow_symlinks=False).st_size == limit_bytes:
                        return limit_bytes
        except OSError:
            continue
    return 0


def full_disk(folder: str = ".") -> str:
    """Return how a folder's filesystem takes not even a small file, or nothing where it does.

    It is tried, for what a filesystem says of its free space knows of no quota.
    """
    path = os.path.join(folder, _ROOM)  # noqa: PTH118
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        return _full(error)
    try:
        os.posix_fallocate(descriptor, 0, ROOM_BYTES)
    except OSError as error:
        return _full(error)
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108
    return ""


def _full(error: OSError) -> str:
    return f"the node's disk takes no more: {error.strerror}" if error.errno in FULL else ""
