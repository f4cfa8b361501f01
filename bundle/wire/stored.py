"""A chunk's stored bytes inside an open file."""

from __future__ import annotations

import hashlib
import os

from bundle.limits import MIB
from bundle.wire.errors import NotABundleFile, Truncated

_HELD_BYTES_MAX = 1 * MIB  # a chunk up to this is read from the disk once


class Stored:
    """One chunk's stored bytes, readable from front to back and at any place, any number of times.

    Bytes are read again where the chunk is large: whoever alters the file in between is found by
    the digest over the raw bytes.
    """

    def __init__(self, descriptor: int, at: int, size: int, where: str) -> None:
        """Look at `size` bytes of the file from `at`."""
        self._descriptor, self._at, self._size, self._where = descriptor, at, size, where
        self._next = 0
        held = size <= _HELD_BYTES_MAX
        self._held = read_at(descriptor, at, size, where) if held else None

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most `size`; empty at the end."""
        left = self._size - self._next
        data = self.read_at(self._next, left if size < 0 else min(size, left))
        self._next += len(data)
        return data

    def read_at(self, at: int, count: int) -> bytes:
        """Return exactly `count` bytes from `at`, both inside the chunk."""
        if self._held is not None:
            return self._held[at : at + count]
        return read_at(self._descriptor, self._at + at, count, self._where)

    def digest(self) -> bytes:
        """Return the SHA-256 over all stored bytes."""
        running = hashlib.sha256()
        for at in range(0, self._size, MIB):
            running.update(self.read_at(at, min(MIB, self._size - at)))
        return running.digest()


def read_at(descriptor: int, at: int, count: int, where: str) -> bytes:
    """Return exactly `count` bytes of a file. Raises Truncated, NotABundleFile."""
    parts: list[bytes] = []
    left = count
    while left:
        try:
            piece = os.pread(descriptor, left, at + count - left)
        except OSError as error:
            raise NotABundleFile(where=where, reason=error.strerror or str(error)) from error
        if not piece:
            raise Truncated(where=where, found_bytes=at + count - left, declared_bytes=at + count)
        parts.append(piece)
        left -= len(piece)
    return parts[0] if len(parts) == 1 else b"".join(parts)
