"""What a hop has in custody: bundle files in `hold/`, each with who took it when beside it.

The records are sidecars, never inside a bundle. They travel along, a line for each hop, so that a
person can see where something got stuck. They are not signed and nobody believes them: what frees a
bundle at its producer is central's receipt alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle.errors import PulkError
from bundle.ids import BundleId
from bundle.media.sight import look
from bundle.spool import publish
from relay.carrier.folder import CUSTODY, SUFFIX, TO_CENTRAL, TO_SITE
from relay.home import now_us
from relay.listing import names

SIDECAR_BYTES_MAX = 1 << 16
LOG_BYTES_MAX = 8 << 20  # then the older half of the log is set aside, and the one before it goes
SIDES = (TO_CENTRAL, TO_SITE)


@dataclass(frozen=True, slots=True)
class Hold:
    """A hop's folder. `name` is the hop's."""

    root: Path
    name: str

    @property
    def tmp(self) -> Path:
        """Where transfers that broke off wait."""
        return self.root / "tmp"

    def side(self, side: str) -> Path:
        """Return the folder of what goes one way."""
        return self.root / "hold" / side

    def make(self) -> None:
        """Make the folders where they are missing."""
        for folder in (self.tmp, self.root / "state", *map(self.side, SIDES)):
            publish.make_folder(folder)

    def bundles(self, side: str) -> list[Path]:
        """Return the bundle files that go one way, sorted by name."""
        folder = self.side(side)
        return [folder / name for name in names(folder) if name.endswith(SUFFIX)]

    def path(self, side: str, bundle: BundleId) -> Path:
        """Return where a bundle lies."""
        return self.side(side) / f"{bundle}{SUFFIX}"

    def sidecar(self, side: str, bundle: BundleId) -> Path:
        """Return where its custody record lies."""
        return self.side(side) / f"{bundle}{CUSTODY}"

    def took(self, side: str, file: Path, bundle: BundleId, source: str, earlier: bytes) -> None:
        """Take a whole file into custody, with what earlier hops say of it; then it is ours."""
        facts = about(file)
        record = {"hop": self.name, "host": platform.node(), "took_us": now_us(), "from": source}
        raw = cut(earlier) + line(record | facts)
        publish.write_file(self.tmp, self.sidecar(side, bundle), raw)
        publish.publish(file, self.path(side, bundle))
        self._log({"did": "took", "bundle": bundle, **record, **facts})

    def gave(self, side: str, bundle: BundleId, to: str, answer: str) -> None:
        """Let a bundle go that lies whole where it was to go."""
        record = {"hop": self.name, "gave_us": now_us(), "to": to, "answer": answer}
        self._log({"did": "gave", "bundle": bundle, **record})
        publish.remove(self.path(side, bundle))
        publish.remove(self.sidecar(side, bundle))

    def _log(self, record: Mapping[str, Any]) -> None:
        path = self.root / "custody.log"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > LOG_BYTES_MAX:
                os.replace(path, path.with_suffix(".log.1"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, publish.FILE_MODE), "ab") as file:
            file.write(line(record))
            file.flush()
            os.fsync(file.fileno())


def about(file: Path) -> dict[str, Any]:
    """Return what a bundle says of itself, for people; nothing where it can't be read."""
    try:
        facts = look(file).facts
    except PulkError:
        return {}
    return {
        "kind": facts.kind.value,
        "producer": facts.producer,
        "audience": facts.audience,
        "stream": facts.stream.hex(),
        "sequence": facts.sequence,
    }


def line(record: Mapping[str, Any]) -> bytes:
    """Return a record as a line of JSON."""
    return json.dumps(record, sort_keys=True).encode() + b"\n"


def cut(earlier: bytes) -> bytes:
    """Return what earlier hops wrote, as far as it is whole lines of JSON and not too much."""
    kept = []
    for one in earlier[:SIDECAR_BYTES_MAX].splitlines():
        with contextlib.suppress(ValueError):
            if isinstance(found := json.loads(one), dict):
                kept.append(line(found))
    return b"".join(kept)
