"""Whether a file of a task reached the limit on the size of one file.

Programs that ignore SIGXFSZ, as Python does, see an error of their own and fail with it.
"""

from __future__ import annotations

import os

FILE_BYTES_MIN = 1 << 20  # a log must fit even where a task asks for no disk


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
