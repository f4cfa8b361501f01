"""Who carried a bundle, as the carriers say: records that came beside it, kept for `pulk tell`.

Nothing else reads them: they are not signed, and no decision of central's rests on them.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from bundle.ids import BundleId
from bundle.spool import publish
from central.core.telling import Carried
from central.home import Home

SUFFIX = ".custody"
BYTES_MAX = 1 << 16
HOPS_MAX = 32
_CHARS_MAX = 200


def keep(home: Home, bundle: BundleId, beside: Path) -> None:
    """Keep the record beside a bundle file that was taken; what can't be read or kept is let go."""
    raw = _read(beside)
    if _hops(raw):
        with contextlib.suppress(OSError):
            publish.make_folder(home.sidecars)
            publish.write_file(home.uploads, home.sidecars / f"{bundle}{SUFFIX}", raw)


def of(home: Home, bundle: BundleId) -> tuple[Carried, ...]:
    """Return who carried a bundle here, in order; nobody where it came by itself."""
    return _hops(_read(home.sidecars / f"{bundle}{SUFFIX}"))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(BYTES_MAX)
    except OSError:
        return b""


def _hops(raw: bytes) -> tuple[Carried, ...]:
    found = []
    for line in raw.splitlines()[:HOPS_MAX]:
        with contextlib.suppress(ValueError, RecursionError):
            said = json.loads(line)
            if isinstance(said, dict) and "hop" in said:
                found.append(_carried(said))
    return tuple(found)


def _carried(said: dict[str, Any]) -> Carried:
    hop, host, source = (str(said.get(name, ""))[:_CHARS_MAX] for name in ("hop", "host", "from"))
    took = said.get("took_us")
    if not isinstance(took, int) or isinstance(took, bool) or not 0 < took < 1 << 53:
        took = 0
    return Carried(_plain(hop), _plain(host), _plain(source), took)


def _plain(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)
