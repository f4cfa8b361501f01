"""A folder in memory, for tests that sync often and lose no power."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_MEMORY = Path("/dev/shm")


def folder(free_bytes: int, otherwise: Path) -> Path:
    """Return where to make folders: in memory if that much is free there."""
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= free_bytes:
        return _MEMORY
    return otherwise
