"""Setting aside what was refused on a medium: a copy with its reason; the medium stays as it is."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bundle.errors import PulkError
from bundle.limits import GIB
from bundle.media.copy import digest_of, lay, write_small
from bundle.media.room import free_bytes
from bundle.spool import publish

REASON = ".reason"
ASIDE_BYTES_MAX = 4 * GIB  # what is beyond stays on the medium alone
ASIDE_FILES_MAX = 1000


class Aside:
    """A folder for copies of what was refused, bounded in bytes and in files."""

    def __init__(self, folder: Path, tmp: Path) -> None:
        """Keep in `folder`; `tmp` is one on the same filesystem, for what is under way."""
        self._folder, self._tmp = folder, tmp
        self._bytes, self._files = -1, 0  # held there; -1: not counted yet

    def keep(self, path: Path, error: PulkError) -> Path | None:
        """Keep a copy of a file, named by its content, once; None where there is no room for it.

        Raises Unreadable where the file can't be read, OSError where the folder fails.
        """
        if self._bytes < 0:
            publish.make_folder(self._folder)
            sizes = [one.lstat().st_size for one in self._folder.iterdir()]
            self._bytes, self._files = sum(sizes), len(sizes) // 2
        size = path.lstat().st_size
        if self._bytes + size > ASIDE_BYTES_MAX or self._files >= ASIDE_FILES_MAX:
            return None
        if free_bytes(self._folder) < size:
            return None
        target = self._folder / f"{digest_of(path).hex()[:32]}.pulk"
        if not target.exists():
            self._put(path, target, error)
            self._bytes, self._files = self._bytes + size, self._files + 1
        return target

    def _put(self, path: Path, target: Path, error: PulkError) -> None:
        about = {"code": error.code, "text": error.text(), **error.diagnostics()}
        staged, reason = (self._tmp / f".{os.urandom(8).hex()}.part" for _ in range(2))
        try:
            write_small(self._tmp, reason.name, json.dumps(about, indent=1).encode())
            lay(path, staged)
            publish.publish(reason, target.with_name(target.name + REASON))
            publish.publish(staged, target)
        finally:
            staged.unlink(missing_ok=True)
            reason.unlink(missing_ok=True)
