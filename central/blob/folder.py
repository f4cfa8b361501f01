"""Blobs as files in a folder on a local disk, or on any mounted one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bundle.spool import publish
from central.blob.contract import BlobDamaged, BlobMissing, BlobTrouble

MODE = 0o400


class FolderBlobs:
    """See `contract.Blobs`. The folder itself must be there: a disk that is not mounted is none."""

    def __init__(self, root: Path) -> None:
        """Work in a folder."""
        self.root = root

    @property
    def place(self) -> str:
        """See `contract.Blobs.place`: the device."""
        with _translated("looking at", ""):
            return f"device {self.root.stat().st_dev}"

    def path(self, name: str) -> Path:
        """Return where a blob lies or would lie."""
        return self.root / name

    def put(self, source: Path, name: str) -> None:
        """See `contract.Blobs.put`.

        On one filesystem the source becomes the file, by a link, and must not be written any more.
        """
        target = self.path(name)
        with _translated("writing", name):
            self.root.stat()
            size = source.stat().st_size
            publish.make_folder(target.parent)
            if not target.exists():
                publish.fsync_file(source)
                try:
                    os.link(source, target, follow_symlinks=False)
                except FileExistsError:
                    pass
                except OSError:  # another filesystem
                    _copy(source, target)
                target.chmod(MODE)
            elif target.stat().st_size != size:
                raise BlobDamaged(name=name, reason=f"{target.stat().st_size} bytes, not {size}")
            publish.fsync_folder(target.parent)

    def size(self, name: str) -> int | None:
        """See `contract.Blobs.size`."""
        with _translated("looking for", name):
            try:
                return self.path(name).stat().st_size
            except FileNotFoundError:
                return None

    def read(self, name: str, first: int, count: int) -> bytes:
        """See `contract.Blobs.read`."""
        with _translated("reading", name), _open(self.path(name), name) as descriptor:
            return os.pread(descriptor, count, first)

    def fetch(self, name: str, target: Path) -> None:
        """See `contract.Blobs.fetch`."""
        with _translated("reading", name), _open(self.path(name), name):
            _copy(self.path(name), target)

    def names(self) -> Iterator[str]:
        """See `contract.Blobs.names`."""
        with _translated("listing", ""):
            folders = sorted(one.name for one in self.root.iterdir() if one.is_dir())
        for folder in folders:
            with _translated("listing", folder):
                found = sorted(one.name for one in (self.root / folder).iterdir())
            yield from (f"{folder}/{name}" for name in found if not name.startswith("."))

    def remove(self, name: str) -> None:
        """See `contract.Blobs.remove`."""
        with _translated("removing", name):
            publish.remove(self.path(name))


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, publish.replacing(target) as written:
        shutil.copyfileobj(read, written, 1 << 20)


@contextmanager
def _open(path: Path, name: str) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BlobMissing(name=name) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _translated(action: str, name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise BlobTrouble(where="folder", action=action, name=name, reason=reason) from error
