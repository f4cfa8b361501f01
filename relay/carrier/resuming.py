"""Files that come in pieces: what came of a transfer that broke off waits for the rest.

A file's name holds the bundle's id and a tag of the very copy that it is a part of, so that two
copies of one bundle, with different chunks absent, are never mixed. Two ticks at once write the
same bytes to the same places. A kill or a power cut may leave a part whose end was never written:
what was put together is read before it counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import IO

from bundle.ids import BundleId
from bundle.spool import publish

KEPT_BYTES_MIN = 1 << 16  # what is shorter is fetched again as fast


def part_of(folder: Path, bundle: BundleId, tag: str) -> Path:
    """Return where the copy of a bundle with this tag is put together."""
    return folder / f"fetch-{bundle}-{hashlib.sha256(tag.encode()).hexdigest()[:16]}"


def newest(folder: Path, bundle: BundleId) -> Path | None:
    """Return the part of a bundle that was written last; others of it are removed."""
    found = []
    for path in folder.glob(f"fetch-{bundle}-*"):
        with contextlib.suppress(FileNotFoundError):
            found.append((path.lstat().st_mtime, path))
    if not found:
        return None
    (*older, (_, last)) = sorted(found)
    for _, path in older:
        path.unlink(missing_ok=True)
    return last


def opened(path: Path, at: int) -> IO[bytes]:
    """Open a part to write from `at` on; it is made where it is missing."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.fdopen(os.open(path, flags, publish.FILE_MODE), "wb")
    file.seek(at)
    return file


def size_of(path: Path) -> int:
    """Return how many bytes of a part are here."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def drop_short(path: Path) -> None:
    """Remove a part that is not worth keeping."""
    if size_of(path) < KEPT_BYTES_MIN:
        path.unlink(missing_ok=True)
