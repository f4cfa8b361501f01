"""One transfer: a task's inputs out of the data, or its outputs into them.

Everything is done in folders that no task sees, under plain numbers. A transfer that was cut off
is ordered again, and goes on from what the last one left.
"""

# Descriptors and plain names here, not Path.
# ruff: noqa: PTH120

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgpack

from pilot import linux, stage

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_GROW = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_DIGESTS = "digests"
PIECES_PER_S = 10  # at least, where there is a rate
WAIT_S = 0.5  # at most, before it is asked again whether a transfer is wanted

Keep = Callable[[], bool]
"""Whether a transfer is still wanted; asked before every piece."""


class GivenUp(Exception):
    """Nobody wants the transfer any more."""


class Pace:
    """The rate of one direction, for one thread."""

    def __init__(self, bytes_per_s: int) -> None:
        """Begin now; 0: as fast as possible."""
        self._rate = bytes_per_s
        self._next_s = 0.0
        self.piece_bytes = stage.PIECE_BYTES
        if bytes_per_s:
            self.piece_bytes = max(4096, min(stage.PIECE_BYTES, bytes_per_s // PIECES_PER_S))

    def wait(self, wanted: Keep) -> None:
        """Wait until the next piece may be moved; what was done since the last one counts.

        Raises GivenUp.
        """
        while wanted():
            now_s = time.monotonic()
            if now_s >= self._next_s:
                self._next_s = now_s
                return
            time.sleep(min(self._next_s - now_s, WAIT_S))
        raise GivenUp

    def moves(self, size: int) -> None:
        """Take note of a piece."""
        if self._rate:
            self._next_s += size / self._rate


class Mover:
    """Moves files for one thread. `brought`, `handed` and `data` are open folders."""

    def __init__(self, brought: int, handed: int, data: int, pace: Pace) -> None:
        """Share the folders with other threads, but no transfer."""
        self._brought, self._handed, self._data, self._pace = brought, handed, data, pace

    def bring(self, order: dict[str, Any], wanted: Keep) -> None:
        """Make the folder of a task's inputs whole. Raises stage.NotStaged, GivenUp, OSError."""
        name = str(order["bring"])
        part = f"{name}.part"
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, stage.FOLDER_MODE, dir_fd=self._brought)
        folder = os.open(part, linux.FOLDER, dir_fd=self._brought)
        try:
            _remove_unfinished(folder)
            place = 0
            for title, digest, size in order["inputs"]:
                what = (stage.data_path(digest), digest, size)
                self._copy_whole(folder, place, title, what, wanted)
                place += 1
            for title, size, seed in order["generated"]:
                source = stage.generated(stage.Folders(folder, self._data), size, seed)
                self._copy_whole(folder, place, title, (source, b"", size), wanted)
                place += 1
        finally:
            os.close(folder)
        os.rename(part, name, src_dir_fd=self._brought, dst_dir_fd=self._brought)

    def drop(self, number: int) -> None:
        """Remove what was brought of a task, whole or not."""
        for name in (str(number), f"{number}.part"):
            remove(name, self._brought)

    def keep(self, local: int, count: int, wanted: Keep) -> list[tuple[bytes, int]]:
        """Hash a task's outputs and move them under their digests, durably.

        Returns (file digest, size in bytes) of each. What is done twice changes nothing, as long
        as `forget` was not called. Raises GivenUp, OSError.
        """
        folder = os.open(str(local), linux.FOLDER, dir_fd=self._handed)
        try:
            rows = _read_digests(folder)
            if rows is None:
                rows = [self._hash_alone(folder, place, wanted) for place in range(count)]
                _write_digests(folder, rows)
            for place, (digest, _) in enumerate(rows):
                with contextlib.suppress(FileNotFoundError):  # it was moved before the last kill
                    stage.move_under(digest, str(place), folder, self._data)
            for path in {os.path.dirname(stage.data_path(digest)) for digest, _ in rows}:
                _sync_folder(path, self._data)
            _sync_folder(".", self._data)
            return rows
        finally:
            os.close(folder)

    def forget(self, local: int) -> None:
        """Remove what was handed on by a task."""
        remove(str(local), self._handed)

    def _copy_whole(
        self, folder: int, place: int, title: str, what: tuple[str, bytes, int], wanted: Keep
    ) -> None:
        """Copy a file; what is there of it counts only if the digest of the whole says so."""
        source, digest, size = what
        try:
            reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._data)
        except FileNotFoundError:
            raise stage.NotStaged(name=title, reason=f"data/{source} is missing") from None
        try:
            writing = os.open(str(place), _GROW, 0o644, dir_fd=folder)
            try:
                had = os.fstat(writing).st_size
                found = self._go_on(reading, writing, wanted)
                if had and found != (digest or found[0], size):
                    os.ftruncate(writing, 0)
                    found = self._go_on(reading, writing, wanted)
            finally:
                os.close(writing)
        finally:
            os.close(reading)
        if found != (digest or found[0], size):
            raise stage.NotStaged(name=title, reason=f"data/{source} is damaged or not whole")

    def _go_on(self, reading: int, writing: int, wanted: Keep) -> tuple[bytes, int]:
        """Copy what the target lacks; return digest and size of all that it has then."""
        running, copied = hashlib.sha256(), 0
        os.lseek(writing, 0, os.SEEK_SET)
        while piece := os.read(writing, stage.PIECE_BYTES):
            running.update(piece)
            copied += len(piece)
        os.lseek(reading, copied, os.SEEK_SET)
        while piece := self._piece(reading, wanted):
            running.update(piece)
            copied += len(piece)
            _write(writing, piece)
        return running.digest(), copied

    def _hash_alone(self, folder: int, place: int, wanted: Keep) -> tuple[bytes, int]:
        """Hash an output that nobody else can change, and sync it; else a copy in its place."""
        name = str(place)
        reading = os.open(name, _READ, dir_fd=folder)
        try:
            leased = _lease(reading)
            if leased is not False:
                found = self._hash(reading, wanted)
                if leased is None or fcntl.fcntl(reading, fcntl.F_GETLEASE) == fcntl.F_RDLCK:
                    os.fsync(reading)
                    return found
            return self._hash_copy(folder, name, reading, wanted)
        finally:
            os.close(reading)

    def _hash(self, reading: int, wanted: Keep) -> tuple[bytes, int]:
        running, size = hashlib.sha256(), 0
        while piece := self._piece(reading, wanted):
            running.update(piece)
            size += len(piece)
        return running.digest(), size

    def _hash_copy(self, folder: int, name: str, reading: int, wanted: Keep) -> tuple[bytes, int]:
        """Put a copy in the place of an output, and hash that."""
        copy = f"{name}.copy"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(copy, dir_fd=folder)
        writing = os.open(copy, _GROW, stage.DATA_MODE, dir_fd=folder)
        try:
            found = self._go_on(reading, writing, wanted)
            os.fsync(writing)
        finally:
            os.close(writing)
        os.rename(copy, name, src_dir_fd=folder, dst_dir_fd=folder)
        return found

    def _piece(self, reading: int, wanted: Keep) -> bytes:
        self._pace.wait(wanted)
        piece = os.read(reading, self._pace.piece_bytes)
        self._pace.moves(len(piece))
        return piece


def remove(name: str, parent: int) -> None:
    """Remove a folder of plain files, where it exists."""
    try:
        folder = os.open(name, linux.FOLDER, dir_fd=parent)
    except FileNotFoundError:
        return
    try:
        for inner in os.listdir(folder):  # noqa: PTH208  an open folder
            with contextlib.suppress(FileNotFoundError):
                os.unlink(inner, dir_fd=folder)
    finally:
        os.close(folder)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=parent)


def _remove_unfinished(folder: int) -> None:
    """Remove what a killed process left that is not a piece of an input."""
    for name in os.listdir(folder):
        if not name.isdecimal():
            os.unlink(name, dir_fd=folder)


def _lease(descriptor: int) -> bool | None:
    """Take a lease on a file that has no other name: nobody can write as long as it is held.

    False where somebody else could change the file; None where the filesystem has no leases. Who
    opens the file for writing waits, the holder gets SIGIO, and F_GETLEASE tells of it.
    """
    if os.fstat(descriptor).st_nlink != 1:
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return False if error.errno in (errno.EAGAIN, errno.EBUSY) else None
    return True


def _write(descriptor: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]


def _write_digests(folder: int, rows: Sequence[tuple[bytes, int]]) -> None:
    """Note what the outputs are before the first of them leaves the folder."""
    new = f"{_DIGESTS}.new"
    descriptor = os.open(new, _GROW | os.O_TRUNC, 0o600, dir_fd=folder)
    try:
        _write(descriptor, msgpack.packb(rows))
    finally:
        os.close(descriptor)
    os.rename(new, _DIGESTS, src_dir_fd=folder, dst_dir_fd=folder)


def _read_digests(folder: int) -> list[tuple[bytes, int]] | None:
    try:
        descriptor = os.open(_DIGESTS, _READ, dir_fd=folder)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return [(digest, size) for digest, size in msgpack.unpackb(file.read())]


def _sync_folder(path: str, parent: int) -> None:
    descriptor = os.open(path, linux.FOLDER, dir_fd=parent)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
