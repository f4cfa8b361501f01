"""One way to copy onto and from media: synced, read back from the medium itself, renamed.

While a file is under way its name ends with `.part`; the next export removes what a kill left.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bundle.limits import MIB
from bundle.media.errors import MediumFailed
from bundle.spool import publish
from bundle.wire import thin

Advance = Callable[[int], None]
Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Made with what is being done and the bytes in all; yields what is called with bytes done."""

UNDER_WAY = ".part"
_OURS = re.compile(r"\.?(?:[0-9a-f]{16}|pulk|carried).*\.part", re.IGNORECASE)


class Unreadable(OSError):
    """What is to be copied can't be read: a bad sector, or no plain file any more."""


@contextmanager
def silent(_doing: str, _total: int) -> Iterator[Advance]:
    """Show no progress."""
    yield _nothing


@contextmanager
def failing(action: str, where: Path) -> Iterator[None]:
    """Turn an OSError into MediumFailed, which names the file and what was being done."""
    try:
        yield
    except OSError as error:
        named = str(error.filename or where)
        reason = error.strerror or str(error)
        raise MediumFailed(where=named, action=action, reason=reason) from error


def must_be_folder(path: Path) -> None:
    """Raise MediumFailed unless the folder is there: one made here could lie beside a stick."""
    if not path.is_dir():
        reason = "there is no such directory (is the medium mounted?)"
        raise MediumFailed(where=str(path), action="opening", reason=reason)


def lay(source: Path, target: Path, advance: Advance | None = None) -> bytes:
    """Copy a plain file to a medium, synced; return the SHA-256 of what was read.

    Raises Unreadable where the source fails, OSError where the target does.
    """
    running = hashlib.sha256()
    with publish.replacing(target) as out:
        for piece in pieces_of(source):
            running.update(piece)
            out.write(piece)
            (advance or _nothing)(len(piece))
    sync_folder(target.parent)
    return running.digest()


def pieces_of(path: Path) -> Iterator[bytes]:
    """Yield a plain file's bytes; links are not followed, pipes not waited for. Raises Unreadable.

    Each piece has at most 1 MiB.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable(error.errno, error.strerror, str(path)) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unreadable(None, "no plain file", str(path))
        while piece := _next(descriptor, path):
            yield piece
    finally:
        os.close(descriptor)


def _next(descriptor: int, path: Path) -> bytes:
    try:
        return os.read(descriptor, MIB)
    except OSError as error:
        raise Unreadable(error.errno, error.strerror, str(path)) from error


def digest_of(path: Path) -> bytes:
    """Return the SHA-256 of a plain file. Raises Unreadable."""
    running = hashlib.sha256()
    for piece in pieces_of(path):
        running.update(piece)
    return running.digest()


def lay_part(source: Path, target: Path, keep: Container[int]) -> bytes:
    """Write a part of a bundle to a medium, synced; return its SHA-256.

    Raises BundleRefused, OSError.
    """
    thin.write_thin(source, target, keep)
    sync_folder(target.parent)
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def lay_checked(source: Path, folder: Path, name: str) -> Path:
    """Copy a file into a folder and read it back; what lies there whole already stays.

    Raises MediumFailed.
    """
    target = folder / name
    with failing("copying", target):
        if target.is_file() and not target.is_symlink() and _same(source, target):
            return target
        if read_back(target, lay(source, target)):
            return target
    reason = "what was read back differs from what was written"
    raise MediumFailed(where=str(target), action="copying", reason=reason)


def read_back(path: Path, sha256: bytes, advance: Advance | None = None) -> bool:
    """Read a file from the medium itself and compare. Raises OSError.

    The kernel is told to forget its copy first; what the medium's own cache does is out of reach.
    """
    running = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        while piece := os.read(descriptor, MIB):
            running.update(piece)
            (advance or _nothing)(len(piece))
    finally:
        os.close(descriptor)
    return running.digest() == sha256


def write_small(folder: Path, name: str, raw: bytes) -> None:
    """Replace a small file, synced. Raises OSError."""
    with publish.replacing(folder / name) as out:
        out.write(raw)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the filesystem can."""
    with contextlib.suppress(OSError):
        publish.fsync_folder(folder)


def clear_under_way(folder: Path) -> int:
    """Remove what a kill left under way in a folder; return how many files. Raises OSError."""
    left = [path for path in folder.iterdir() if _OURS.fullmatch(path.name)]
    left = [path for path in left if path.is_file() and not path.is_symlink()]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def _same(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as file:
        return read_back(other, hashlib.file_digest(file, "sha256").digest())


def _nothing(_count: int) -> None:
    pass
