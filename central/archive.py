"""The archive: every accepted bundle and central's own commits as files. It is the record.

A bundle is there, synced, name and all, before the database says so: a crash in between leaves a
file that the next start merges.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from bundle.ids import BundleId
from bundle.spool import publish

SUFFIX = ".pulk"
MODE = 0o400
_NAME = re.compile(r"([0-9a-f]{64})\.pulk")


class Archive:
    """A folder of bundles by id, in 256 folders."""

    def __init__(self, root: Path, copies: int) -> None:
        """Work in a folder; `copies` devices must hold a bundle before it counts as safe."""
        self.root = root
        self._copies = copies

    def path(self, bundle: BundleId) -> Path:
        """Return where a bundle lies or would lie."""
        return self.root / bundle[:2] / f"{bundle}{SUFFIX}"

    def put(self, source: Path, bundle: BundleId) -> bool:
        """Put a verified bundle file in durably; return whether it is safe now.

        `source` must be a file of central's own: it becomes the archived file (by a link) and must
        not be written to any more; its name may be removed.
        """
        target = self.path(bundle)
        publish.make_folder(target.parent)
        if not target.exists():
            with source.open("rb") as file:
                os.fsync(file.fileno())
            try:
                os.link(source, target, follow_symlinks=False)
            except FileExistsError:
                pass
            except OSError:  # another filesystem
                _copy(source, target)
            target.chmod(MODE)
        publish.fsync_folder(target.parent)
        return self.is_safe

    def take_back(self, bundle: BundleId) -> None:
        """Remove a bundle of central's own that nobody was told of, durably."""
        publish.remove(self.path(bundle))

    @property
    def is_safe(self) -> bool:
        """Whether one device is enough to call a bundle safe."""
        return self._copies <= 1

    def ids(self) -> Iterator[BundleId]:
        """Yield the ids of all bundles there, by their names."""
        return (BundleId(path.stem) for path in bundle_files(self.root))


def bundle_files(root: Path) -> Iterator[Path]:
    """Yield the bundle files below an archive's folder, sorted by name."""
    for path in sorted(root.glob(f"??/*{SUFFIX}")):
        if _NAME.fullmatch(path.name) and not path.is_symlink():
            yield path


def _copy(source: Path, target: Path) -> None:
    part = target.with_name(f".{os.urandom(8).hex()}.part")
    try:
        with source.open("rb") as read, part.open("xb") as written:
            shutil.copyfileobj(read, written, 1 << 20)
            written.flush()
            os.fsync(written.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
