"""What a scheduler said of its nodes: asked once a day, kept in a file for the ticks between."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bundle.errors import PulkError
from bundle.spool import publish
from site_adapters.contract import Limits

LIMITS_S, LIMITS_AGAIN_S = 86_400, 3_600
_FILE = "limits"
_LOG = logging.getLogger(__name__)


def once_a_day(
    folder: Path, ask: Callable[[], Limits], troubles: tuple[type[PulkError], ...]
) -> Limits | None:
    """Return what `ask` said of late, or says now; None where it raised one of the troubles.

    Who did not answer is asked again after an hour.
    """
    path = folder / _FILE
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads(path.read_bytes())
        if 0 <= time.time() - said["at_s"] < (LIMITS_S if said["limits"] else LIMITS_AGAIN_S):
            return _decode(said["limits"])
    found: Limits | None = None
    try:
        found = ask()
    except troubles as error:
        _LOG.warning("limits not seen", extra={"reason": error.text()})
    publish.make_folder(folder)
    value = {"at_s": time.time(), "limits": None if found is None else asdict(found)}
    publish.write_file(folder, path, json.dumps(value).encode())
    return found


def _decode(said: dict[str, Any] | None) -> Limits | None:
    if said is None:
        return None
    pairs = said.pop("gpus")
    gpus = None if not isinstance(pairs, list) else tuple((str(m), int(c)) for m, c in pairs)
    counts = {name: int(str(value)) for name, value in said.items()}
    return Limits(**counts, gpus=gpus)
