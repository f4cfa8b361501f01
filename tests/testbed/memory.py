"""Folders in memory: for tests that sync often and lose no power, and small ones to be filled."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_MEMORY = Path("/dev/shm")


def folder(free_bytes: int, otherwise: Path) -> Path:
    """Return where to make folders: in memory if that much is free there."""
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= free_bytes:
        return _MEMORY
    return otherwise


def mount(folder: Path, size_bytes: int) -> bool:
    """Make a folder that is a filesystem of that size; False where that can't be done."""
    folder.mkdir(exist_ok=True)
    argv = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def unmount(folder: Path) -> None:
    """Remove it, whoever uses it still."""
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
