"""The one log file of a slot: output and errors of the task that runs, capped head and tail."""

# Descriptors and plain names here, not Path: this runs for every task.
# ruff: noqa: PTH108

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from bundle.limits import LOG_BYTES_MAX

LINE_BYTES_MAX = 200


class SlotLog:
    """A nameless file that is standard output and error of this process and its tasks."""

    def __init__(self, path: Path) -> None:
        """Open the file and put it under descriptors 1 and 2; 0 reads nothing."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        os.unlink(path)
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(self._descriptor, 1)
        os.dup2(self._descriptor, 2)
        self._seen_bytes = 0

    def size(self) -> int:
        """Return how many bytes were written; asked last when all of a task is dead."""
        self._seen_bytes = os.fstat(self._descriptor).st_size
        return self._seen_bytes

    def clear(self) -> None:
        """Empty the log for the next task."""
        if self._seen_bytes:
            os.ftruncate(self._descriptor, 0)
            self._seen_bytes = 0

    def note(self, text: str) -> None:
        """Add a line of the slot's own."""
        self._seen_bytes += 1
        with contextlib.suppress(OSError):
            os.write(self._descriptor, f"[{text}]\n".encode())

    def read(self) -> bytes:
        """Return the log; of a long one head and tail, with a line that says what is left out."""
        size = self.size()
        if size <= LOG_BYTES_MAX:
            return os.pread(self._descriptor, size, 0)
        note = f"\n[{size} bytes; the middle is left out]\n".encode()
        half = (LOG_BYTES_MAX - len(note)) // 2
        head = os.pread(self._descriptor, half, 0)
        return head + note + os.pread(self._descriptor, half, size - half)

    def last_line(self) -> str:
        """Return the last line that says something."""
        size = self.size()
        tail = os.pread(self._descriptor, LINE_BYTES_MAX * 4, max(0, size - LINE_BYTES_MAX * 4))
        for line in reversed(tail.splitlines()):
            if line.strip():
                return line[-LINE_BYTES_MAX:].decode(errors="replace").strip()
        return ""
