"""How much room there is for work: the disk's, less what is kept free, or what is left of a quota.

A disk does not tell of an account's quota, so that stands in relay.toml, and what the spool holds
is counted: names and sizes of the spool's own files, only when there is something to take.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from relay.errors import NoSpace
from relay.home import Home

COUNTED_MAX = 1_000_000  # files; a spool with more has no room by inodes, whatever its quota


@dataclass(frozen=True, slots=True)
class Room:
    """What may still be used up. `inodes` None: the filesystem does not say, and no quota does."""

    bytes: int
    inodes: int | None


@dataclass(frozen=True, slots=True)
class Used:
    """What the spool holds."""

    bytes: int
    inodes: int


class Tally:
    """What there is room for in one pass: counted when first asked, less what was let in since.

    So a spool is walked once for many bundles. Not for longer than a pass: others write too.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._held: Used | None = None

    def check(self, need_bytes: int, need_inodes: int, *, where: str) -> None:
        """Let so much in. Raises NoSpace where there is no room for it."""
        here = self.room()
        if need_bytes > here.bytes:
            raise NoSpace(where=where, unit="bytes", need=need_bytes, room=max(0, here.bytes))
        if here.inodes is not None and need_inodes > here.inodes:
            raise NoSpace(where=where, unit="inodes", need=need_inodes, room=max(0, here.inodes))
        if self._held is not None:
            held = self._held
            self._held = Used(held.bytes + need_bytes, held.inodes + need_inodes)

    def room(self) -> Room:
        """Return what may still be used up."""
        home = self._home
        disk, keep = os.statvfs(home.spool.root), home.config.spool
        left = disk.f_bavail * disk.f_frsize - keep.free_bytes_min
        inodes = disk.f_favail - keep.free_inodes_min if disk.f_files else None
        if keep.bytes_max or keep.inodes_max:
            self._held = held = self._held or used(home.spool.root)
            if keep.bytes_max:
                left = min(left, keep.bytes_max - held.bytes)
            if keep.inodes_max:
                of_quota = keep.inodes_max - held.inodes
                inodes = of_quota if inodes is None else min(inodes, of_quota)
        return Room(left, inodes)


def used(root: Path) -> Used:
    """Count what lies below a folder, links not followed; a file with two names counts once."""
    total, inodes = 0, 0
    linked: set[int] = set()
    waiting = [root]
    while waiting and inodes < COUNTED_MAX:
        try:
            with os.scandir(waiting.pop()) as rows:
                for row in rows:
                    found = row.stat(follow_symlinks=False)
                    if found.st_nlink > 1 and not row.is_dir(follow_symlinks=False):
                        if found.st_ino in linked:
                            continue
                        linked.add(found.st_ino)
                    inodes += 1
                    total += found.st_blocks * 512
                    if row.is_dir(follow_symlinks=False):
                        waiting.append(Path(row.path))
        except OSError:
            continue  # it went away meanwhile, or is a task's own
    return Used(total, inodes)
