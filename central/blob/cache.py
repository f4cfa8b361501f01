"""A folder of copies that is kept below a bound: what was asked for longest ago goes first."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path


class Cache:
    """What of a remote store lies in a folder. The files' times keep the order over restarts."""

    def __init__(self, root: Path, bytes_max: int) -> None:
        """Look at nothing yet."""
        self._root, self._bytes_max = root, bytes_max
        self._sizes: OrderedDict[Path, int] = OrderedDict()
        self._total = 0
        self._is_known = False

    def keep(self, path: Path) -> None:
        """Note that a file was asked for now; others go until the rest fits. Never `path`."""
        if not self._is_known:
            self._look()
        self._total += path.stat().st_size - self._sizes.pop(path, 0)
        self._sizes[path] = path.stat().st_size
        os.utime(path)
        while self._total > self._bytes_max and len(self._sizes) > 1:
            oldest, size_bytes = self._sizes.popitem(last=False)
            oldest.unlink(missing_ok=True)
            self._total -= size_bytes

    def _look(self) -> None:
        found = [(path.stat(), path) for path in self._root.glob("??/*") if path.is_file()]
        found.sort(key=lambda one: one[0].st_mtime_ns)
        self._sizes.update((path, state.st_size) for state, path in found)
        self._total = sum(self._sizes.values())
        self._is_known = True
