"""Setting aside what was refused on a medium: a copy with its reason; the medium stays as it is."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bundle.digest import file_digest
from bundle.errors import PulkError
from bundle.limits import GIB
from bundle.media.copy import lay, write_small
from bundle.spool import publish

REASON = ".reason"
ASIDE_BYTES_MAX = 4 * GIB  # what is beyond stays on the medium alone


def set_aside(folder: Path, tmp: Path, path: Path, error: PulkError) -> Path | None:
    """Keep a copy of a file, named by its content, once; None where there is no room for it.

    `tmp`: a folder on the same filesystem, for what is under way. Raises OSError.
    """
    publish.make_folder(folder)
    size = path.stat().st_size
    if held_bytes(folder) + size > ASIDE_BYTES_MAX:
        return None
    target = folder / f"{file_digest(path).hex()[:32]}.pulk"
    if not target.exists():
        about = {"code": error.code, "text": error.text(), **error.diagnostics()}
        staged, reason = (tmp / f".{os.urandom(8).hex()}.part" for _ in range(2))
        write_small(tmp, reason.name, json.dumps(about, indent=1).encode())
        publish.publish(reason, target.with_name(target.name + REASON))
        lay(path, staged)
        publish.publish(staged, target)
    return target


def held_bytes(folder: Path) -> int:
    """Return the bytes of the files in a folder."""
    try:
        return sum(path.lstat().st_size for path in folder.iterdir())
    except FileNotFoundError:
        return 0
