"""What nobody wants any more, as two files of the spool say: parsed only where they changed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from bundle.ids import DatasetId, LeaseId, MalformedId, parse_dataset_id
from bundle.spool.layout import Spool
from relay import calling_off

BYTES_MAX = 16 << 20


class Unwanted:
    """Deleted datasets, and leases that were called off."""

    def __init__(self, spool: Spool) -> None:
        """Read nothing yet."""
        self._spool = spool
        self._raw: dict[Path, bytes] = {}
        self.datasets: frozenset[DatasetId] = frozenset()
        self.leases: frozenset[LeaseId] = frozenset()

    def look(self) -> tuple[tuple[DatasetId, ...], tuple[LeaseId, ...]] | None:
        """Read what changed; return what is new, sorted, or None where nothing changed.

        Nothing new is told of single tasks: pilots look into the spool whatever they hear.
        """
        datasets, leases = self.datasets, self.leases
        if (raw := self._changed(self._spool.tombstones)) is not None:
            self.datasets = _datasets(raw)
        if (raw := self._changed(self._spool.called_off)) is not None:
            self.leases = calling_off.parse(raw)
        tasks = self._changed(self._spool.called_off_tasks)
        if tasks is None and (datasets, leases) == (self.datasets, self.leases):
            return None
        return tuple(sorted(self.datasets - datasets)), tuple(sorted(self.leases - leases))

    def _changed(self, path: Path) -> bytes | None:
        """Return what stands in a file; None where that is as before, or it can't be read now."""
        try:
            with path.open("rb") as file:
                raw = file.read(BYTES_MAX)
        except FileNotFoundError:
            raw = b""
        except OSError:  # a shared filesystem that hesitates proves nothing
            return None
        if raw == self._raw.get(path, b""):
            return None
        self._raw[path] = raw
        return raw


def _datasets(raw: bytes) -> frozenset[DatasetId]:
    found = set()
    for text in raw.decode(errors="replace").split():
        with contextlib.suppress(MalformedId):
            found.add(parse_dataset_id(text))
    return frozenset(found)
