"""Uploads that broke off: what came of them waits, so that the site sends the rest alone.

`uploads/partial/<site>/<bundle>` holds the beginning of a file; while a transfer is under way it
lies there with a suffix of its own, so that two never write to one file. Nothing here is verified:
what was put together is read before it counts, and judged then like any other file.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle.ids import BundleId, SiteName
from central.home import Home

FOLDER = "partial"
KEPT_BYTES_MIN = 1 << 20  # what is shorter comes again as fast
KEPT_S = 3 * 86_400.0
PER_SITE_MAX = 4
_UNDER_WAY = "."  # between a bundle's id and what tells transfers apart


@dataclass(frozen=True, slots=True)
class Partials:
    """See the module. `bytes_max`: of all that wait together; 0: nothing is kept."""

    home: Home
    bytes_max: int

    @property
    def root(self) -> Path:
        """Where all of it lies."""
        return self.home.uploads / FOLDER

    def held(self, site: SiteName, bundle: BundleId) -> int:
        """Return how many bytes of a bundle wait for the rest."""
        try:
            return self._kept(site, bundle).stat().st_size
        except FileNotFoundError:
            return 0

    def begin(self, site: SiteName, bundle: BundleId, at: int) -> Path | None:
        """Return a file of one's own to write from `at` on; None where other bytes wait here."""
        folder = self.root / site
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = folder / f"{bundle}{_UNDER_WAY}{os.getpid()}-{os.urandom(6).hex()}"
        if not at:
            return own
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._kept(site, bundle), own)
            if own.stat().st_size == at:
                return own
            self.keep(site, bundle, own)
        return None

    def keep(self, site: SiteName, bundle: BundleId, own: Path) -> None:
        """Let what came wait for the rest, if it is worth it and more than what waits already."""
        with contextlib.suppress(FileNotFoundError):
            size = own.stat().st_size
            if size < max(KEPT_BYTES_MIN, self.held(site, bundle) + 1) or size > self.bytes_max:
                own.unlink()
            else:
                os.replace(own, self._kept(site, bundle))
                self.sweep()

    def drop(self, site: SiteName, bundle: BundleId) -> None:
        """Forget what waits of a bundle: all of it has come."""
        self._kept(site, bundle).unlink(missing_ok=True)

    def recover(self) -> None:
        """Let what a killed server was receiving wait too; call it before anything is received."""
        for path in self._files():
            bundle, is_under_way, _ = path.name.partition(_UNDER_WAY)
            if is_under_way:
                self.keep(SiteName(path.parent.name), BundleId(bundle), path)
        self.sweep()

    def sweep(self) -> None:
        """Remove what is old, what is too much of one site, and the oldest of what is too much."""
        rows = []
        for path in self._files():
            with contextlib.suppress(FileNotFoundError):
                if _UNDER_WAY not in path.name:
                    found = path.stat()
                    rows.append((found.st_mtime, found.st_size, path))
        limit, total = time.time() - KEPT_S, 0
        of_site: dict[str, int] = {}
        for made, size, path in sorted(rows, reverse=True):
            total += size
            of_site[path.parent.name] = of_site.get(path.parent.name, 0) + 1
            is_much = total > self.bytes_max or of_site[path.parent.name] > PER_SITE_MAX
            if made < limit or is_much:
                path.unlink(missing_ok=True)
                total -= size
                of_site[path.parent.name] -= 1

    def _kept(self, site: SiteName, bundle: BundleId) -> Path:
        return self.root / site / bundle

    def _files(self) -> Iterator[Path]:
        yield from sorted(self.root.glob("*/*"))
