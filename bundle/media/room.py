"""How much may be written to a disk of our own."""

from __future__ import annotations

import os
from pathlib import Path

from bundle.limits import MIB

ROOM_KEPT_BYTES = 64 * MIB  # of the disk, whatever a medium brings


def free_bytes(folder: Path) -> int:
    """Return how many bytes may be written there. Raises OSError."""
    disk = os.statvfs(folder)
    return max(0, disk.f_bavail * disk.f_frsize - ROOM_KEPT_BYTES)
