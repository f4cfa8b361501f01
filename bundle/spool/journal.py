"""The journal: framed records that survive a kill at any byte.

A frame is a 4-byte big-endian length, a 4-byte CRC-32 over length and payload, and the payload, a
canonical msgpack map with a `kind`. The pilot appends and fsyncs in groups; a record counts as
written once the fsync that follows it returned. A torn tail is cut by the reader, never fatal.
"""

from __future__ import annotations

import os
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle import canonical
from bundle.limits import RECORD_LIMITS

FRAME_BYTES = 8


@dataclass(frozen=True, slots=True)
class JournalRead:
    """`sound_bytes`: where the last whole record ends; `torn`: more follows."""

    records: tuple[Any, ...]
    sound_bytes: int
    torn: bool


class JournalWriter:
    """Appends records; `commit` makes everything appended so far durable.

    Two threads may append to one: who writes never waits for the other one's fsync.
    """

    def __init__(self, path: Path) -> None:
        """Create the journal exclusively (mode 0600)."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self._lock = threading.Lock()
        self._pending: list[bytes] = []
        self._is_dirty = False
        self.pending_bytes = 0

    def append(self, record: dict[str, Any]) -> None:
        """Queue one record; nothing is promised until `commit`."""
        frame = frame_of(record)
        with self._lock:
            self._pending.append(frame)
            self.pending_bytes += len(frame)

    def write(self) -> None:
        """Write the queued records: they outlive this process, and the node once committed."""
        with self._lock:
            if not self._pending:
                return
            self._is_dirty = True
            data = memoryview(b"".join(self._pending))
            while data:
                data = data[os.write(self._descriptor, data) :]
            self._pending.clear()
            self.pending_bytes = 0

    def commit(self) -> None:
        """Write the queued records and fsync the file."""
        self.write()
        if self._is_dirty:
            self._is_dirty = False  # before: what is written meanwhile is not in this fsync
            try:
                os.fsync(self._descriptor)
            except BaseException:
                self._is_dirty = True
                raise

    def close(self) -> None:
        """Commit and close."""
        self.commit()
        os.close(self._descriptor)


def frame_of(record: dict[str, Any]) -> bytes:
    """Return the bytes of one framed record."""
    payload = canonical.encode(record)
    length = len(payload).to_bytes(4, "big")
    return length + zlib.crc32(payload, zlib.crc32(length)).to_bytes(4, "big") + payload


def read_journal(path: Path) -> JournalRead:
    """Read every whole record; stop at the first that is torn or damaged."""
    data = path.read_bytes()
    records: list[Any] = []
    at = 0
    while at + FRAME_BYTES <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        crc = int.from_bytes(data[at + 4 : at + 8], "big")
        payload = data[at + FRAME_BYTES : at + FRAME_BYTES + length]
        if len(payload) < length or crc != zlib.crc32(payload, zlib.crc32(data[at : at + 4])):
            break
        try:
            records.append(canonical.decode(payload, RECORD_LIMITS, where=str(path)))
        except canonical.NotCanonical:
            break
        at += FRAME_BYTES + length
    return JournalRead(tuple(records), at, at < len(data))
