"""What a hop gave to an end of late, so that it is not carried again while its way takes time."""

from __future__ import annotations

from pathlib import Path

from bundle import canonical
from bundle.ids import BundleId
from bundle.spool import publish
from relay import state
from relay.home import now_us


class Given:
    """Ids with times; a lost update carries something twice, no more."""

    def __init__(self, path: Path, tmp: Path, again_s: float) -> None:
        """Read what was given."""
        self._path, self._tmp, self._again_us = path, tmp, int(again_s * 1e6)
        value = state.read_map(path)
        rows = value.readers("rows") if value else ()
        self._at = {BundleId(row.text(0)): row.count(1) for row in rows}
        self._asked: set[BundleId] = set()

    def is_fresh(self, bundle: BundleId) -> bool:
        """Return whether a bundle was given of late; that it is still on offer is remembered."""
        self._asked.add(bundle)
        at_us = self._at.get(bundle)
        return at_us is not None and 0 <= now_us() - at_us < self._again_us

    def note(self, bundle: BundleId) -> None:
        """Note that a bundle was given now."""
        self._asked.add(bundle)
        self._at[bundle] = now_us()

    def save(self) -> None:
        """Keep what was asked about; what no end offers any more is forgotten."""
        rows = [[one, self._at[one]] for one in sorted(self._asked & self._at.keys())]
        publish.write_file(self._tmp, self._path, canonical.encode({"rows": rows}))
