"""Files that a hop does not carry: no whole bundles, or not those that they are named for."""

from __future__ import annotations

import json
from pathlib import Path

from bundle.spool import publish
from relay.carrier.folder import Entry

MOST = 10_000


class Refusals:
    """Names with sizes: a file is looked at again once its size is another one."""

    def __init__(self, path: Path, tmp: Path) -> None:
        """Read what was refused; what can't be read is looked at again."""
        self._path, self._tmp = path, tmp
        try:
            found = json.loads(path.read_bytes())
            self._sizes = {str(name): int(size) for name, size in found.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            self._sizes = {}

    def knows(self, entry: Entry) -> bool:
        """Return whether a file was refused as it is."""
        return self._sizes.get(entry.name) == entry.size_bytes

    def note(self, entry: Entry) -> None:
        """Remember a file that was refused; the oldest is forgotten where there are too many."""
        self._sizes.pop(entry.name, None)
        self._sizes[entry.name] = entry.size_bytes
        while len(self._sizes) > MOST:
            del self._sizes[next(iter(self._sizes))]
        publish.write_file(self._tmp, self._path, json.dumps(self._sizes).encode())
