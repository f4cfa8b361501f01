"""Uploads that broke off: what came of them waits, so that the site sends the rest alone.

`partial/<site>/<bundle>` holds the beginning of a file; while a transfer is under way it lies in
`uploads` under a name of its own, so that two never write to one file. Nothing here is verified:
what was put together is read before it counts, and judged then like any other file.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from bundle.ids import BundleId, SiteName
from central.home import Home

KEPT_BYTES_MIN = 1 << 20  # what is shorter comes again as fast
KEPT_S = 3 * 86_400.0
PER_SITE_MAX = 4
_UNDER_WAY = re.compile(r"([0-9a-f]{64})\.(.{1,63})\.[0-9]+-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Partials:
    """See the module. `bytes_max`: of all that wait together; 0: nothing is kept."""

    home: Home
    bytes_max: int

    def held(self, site: SiteName, bundle: BundleId) -> int:
        """Return how many bytes of a bundle wait for the rest."""
        try:
            return self._kept(site, bundle).stat().st_size
        except FileNotFoundError:
            return 0

    def begin(self, site: SiteName, bundle: BundleId, at: int) -> Path | None:
        """Return a file of one's own to write from `at` on; None where other bytes wait here."""
        own = self.home.uploads / f"{bundle}.{site}.{os.getpid()}-{os.urandom(6).hex()}"
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
                kept = self._kept(site, bundle)
                kept.parent.mkdir(mode=0o700, exist_ok=True)
                os.replace(own, kept)
                self.sweep()

    def drop(self, site: SiteName, bundle: BundleId) -> None:
        """Forget what waits of a bundle: all of it has come."""
        self._kept(site, bundle).unlink(missing_ok=True)

    def recover(self) -> None:
        """Let what a killed server was receiving wait too; call it before anything is received."""
        for path in sorted(self.home.uploads.iterdir()):
            if found := _UNDER_WAY.fullmatch(path.name):
                self.keep(SiteName(found[2]), BundleId(found[1]), path)
        self.sweep()

    def sweep(self) -> None:
        """Remove what is old, what is too much of one site, and the oldest of what is too much."""
        rows = []
        for path in self.home.partial.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
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
        return self.home.partial / site / bundle
