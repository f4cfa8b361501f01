"""An exchange folder: `to-central` and `to-site` below one place, here or at the other end of ssh.

Each holds plain files `<64 hex digits>.pulk`; whatever else lies there is passed over. Who takes a
bundle out of one removes it once it is whole in his own custody; who laid it there keeps his own
copy until central's receipt.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bundle.ids import BundleId
from bundle.media.copy import failing, lay_checked, must_be_folder, pieces_of, sync_folder
from bundle.spool import publish

TO_CENTRAL, TO_SITE = "to-central", "to-site"
SUFFIX, CUSTODY = ".pulk", ".custody"  # a bundle, and who carried it
ENTRIES_MAX = 100_000
BUNDLE_NAME = re.compile(r"([0-9a-f]{64})\.pulk")


@dataclass(frozen=True, slots=True)
class Entry:
    """A plain file in one of the two folders."""

    name: str
    size_bytes: int


class Folder(Protocol):
    """An exchange folder. Every method raises CarryFailed or MediumFailed."""

    @property
    def where(self) -> str:
        """Its address, for people."""

    def entries(self, side: str) -> list[Entry]:
        """Return the plain files in `to-central` or `to-site`, sorted by name."""

    def get(self, side: str, entry: Entry, part: Path) -> None:
        """Bring a file into `part`, from where that ends; synced. It may be any bytes."""

    def put(self, path: Path, side: str, name: str, *, fresh: bool = False) -> None:
        """Lay a copy of a file there, whole under its name or not at all.

        `fresh`: what an earlier transfer left there is not gone on from.
        """

    def remove(self, side: str, names: list[str]) -> None:
        """Remove files; those that are not there are no error."""


def bundle_of(entry: Entry) -> BundleId | None:
    """Return the id that a file claims to be; nothing of it is verified."""
    found = BUNDLE_NAME.fullmatch(entry.name)
    return BundleId(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class NearFolder:
    """An exchange folder on a filesystem of this machine. Both folders must be there.

    One made here could lie beside what is not mounted.
    """

    root: Path

    @property
    def where(self) -> str:
        """See `Folder`."""
        return self.root.as_uri()

    def entries(self, side: str) -> list[Entry]:
        """See `Folder`. Links are passed over. Raises MediumFailed."""
        folder = self._folder(side)
        found = []
        with failing("listing", folder), os.scandir(folder) as rows:
            for row in rows:
                state = row.stat(follow_symlinks=False)
                if stat.S_ISREG(state.st_mode):
                    found.append(Entry(row.name, state.st_size))
                if len(found) >= ENTRIES_MAX:
                    break
        return sorted(found, key=lambda one: one.name)

    def get(self, side: str, entry: Entry, part: Path) -> None:
        """See `Folder`; it is copied from its beginning. Raises MediumFailed."""
        source = self._folder(side) / entry.name
        left = entry.size_bytes
        with failing("taking", source), publish.replacing(part) as out:
            for piece in pieces_of(source):
                out.write(piece[:left])
                left -= min(left, len(piece))

    def put(self, path: Path, side: str, name: str, *, fresh: bool = False) -> None:
        """See `Folder`; it is read back, so nothing needs to be fresh. Raises MediumFailed."""
        del fresh
        lay_checked(path, self._folder(side), name)

    def remove(self, side: str, names: list[str]) -> None:
        """See `Folder`. Raises MediumFailed."""
        folder = self._folder(side)
        with failing("removing", folder):
            for name in names:
                (folder / name).unlink(missing_ok=True)
            sync_folder(folder)

    def _folder(self, side: str) -> Path:
        folder = self.root / side
        must_be_folder(folder)
        return folder
