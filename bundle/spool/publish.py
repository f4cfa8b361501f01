"""Making a file appear whole or not at all, and claiming one, by rename.

Where the fsyncs are: the file before its rename, its folder after it. A crash before the rename
leaves a file in `tmp/` that nobody reads; a crash after it leaves the whole file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bundle.errors import PulkError

FILE_MODE = 0o600
FOLDER_MODE = 0o700


class AlreadyThere(PulkError):
    """An exclusive name is taken: another process published it first. Use what is there."""

    code = "already-there"
    what = "the name is taken"
    remedy = "another process was first; what it wrote is complete"


def make_folder(path: Path) -> None:
    """Create a folder (mode 0700) with its parents where missing, durably."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=FOLDER_MODE)
        fsync_folder(path.parent)


def fsync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Make the bytes of a file durable."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_file(tmp: Path, target: Path, data: bytes, *, mode: int = FILE_MODE) -> None:
    """Write `data` to `target`, replacing what is there: temporary file, fsync, rename, fsync."""
    staged = stage(tmp, data, mode=mode)
    os.replace(staged, target)
    fsync_folder(target.parent)


def write_new_file(tmp: Path, target: Path, data: bytes, *, mode: int = FILE_MODE) -> None:
    """Like `write_file`, but raises AlreadyThere where the name is taken."""
    publish_new(stage(tmp, data, mode=mode), target)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a new file, readable too, that replaces `path` at the end, whole and synced.

    After an exception it is removed and `path` is as it was. The folder's sync is the caller's.
    """
    part = path.with_name(f".{path.name[:64]}.{os.urandom(6).hex()}.part")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(part, flags, FILE_MODE), "w+b") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def stage(tmp: Path, data: bytes, *, mode: int = FILE_MODE) -> Path:
    """Write `data` to a new fsynced file in `tmp` and return its path."""
    path = tmp / f"{os.getpid()}-{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)  # a full disk must not be filled with attempts to write
        raise
    return path


def publish_new(staged: Path, target: Path) -> None:
    """Give a staged, fsynced file its final name exclusively, by link. Raises AlreadyThere.

    A link whose answer got lost (a network filesystem) is recognised by the inode.
    """
    try:
        os.link(staged, target)
    except FileExistsError:
        if not _is_same(staged, target):
            staged.unlink(missing_ok=True)
            raise AlreadyThere(where=str(target)) from None
    staged.unlink(missing_ok=True)
    fsync_folder(target.parent)


def _is_same(staged: Path, target: Path) -> bool:
    try:
        return staged.samefile(target)
    except FileNotFoundError:
        return False  # its owner has just taken it away


def publish(staged: Path, target: Path) -> None:
    """Give a staged, fsynced file its final name, replacing what is there."""
    os.replace(staged, target)
    fsync_folder(target.parent)


def claim(source: Path, target: Path) -> bool:
    """Move a file to a name of one's own; False where somebody else was first."""
    try:
        os.rename(source, target)
    except FileNotFoundError:
        return target.exists()  # the answer to our own rename may have been lost
    return True


def move(source: Path, target: Path) -> bool:
    """Move a file durably within the spool; False where it is no longer there."""
    if not claim(source, target):
        return False
    fsync_folder(target.parent)
    fsync_folder(source.parent)
    return True


def remove(path: Path) -> None:
    """Remove a file or a folder with all it holds, where it exists, durably."""
    try:
        if path.is_dir() and not path.is_symlink():
            _remove_tree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return  # another process put a file there meanwhile: the next tick removes it
    fsync_folder(path.parent)


def _remove_tree(path: Path) -> None:
    """Remove a folder though a task may have taken its owner's rights to parts of it."""
    try:
        shutil.rmtree(path)
    except PermissionError:
        for folder, names, _ in os.walk(path):  # top down: each is unlocked before it is entered
            for name in names:
                inner = Path(folder, name)
                if not inner.is_symlink():
                    inner.chmod(FOLDER_MODE)
        shutil.rmtree(path)
