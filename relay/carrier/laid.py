"""Which bundles this relay laid into an exchange folder: it removes its own and no others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bundle.ids import BundleId
from bundle.spool import publish
from relay import state

_BYTES = 32


class Laid:
    """A file of ids; a lost update leaves a copy lying in the folder, no more."""

    def __init__(self, path: Path, tmp: Path) -> None:
        """Keep them in `path`."""
        self._path, self._tmp = path, tmp

    def all(self) -> frozenset[BundleId]:
        """Return all of them."""
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return frozenset()
        rows = range(0, len(raw) - _BYTES + 1, _BYTES)
        return frozenset(BundleId(raw[at : at + _BYTES].hex()) for at in rows)

    def add(self, bundle: BundleId) -> None:
        """Note one before it is laid."""
        if bundle not in self.all():
            state.append_rows(self._path, [bytes.fromhex(bundle)])

    def drop(self, bundles: Iterable[BundleId]) -> None:
        """Forget some that were removed."""
        left = sorted(self.all() - frozenset(bundles))
        publish.write_file(self._tmp, self._path, b"".join(map(bytes.fromhex, left)))
