"""Central's newest head, kept so that each report brings it back (see `bundle.records.head`)."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from bundle.errors import PulkError
from bundle.limits import ParseLimits
from bundle.records import head as heads
from bundle.records.head import BYTES_MAX, CHUNK, Head
from bundle.spool import publish
from bundle.spool.bounded import read_bounded
from bundle.wire.read import OpenBundle
from relay import state
from relay.home import Home

_LOG = logging.getLogger(__name__)
_LIMITS = ParseLimits(BYTES_MAX, 64)


def newest(home: Home) -> bytes:
    """Return the newest signed head that came, or nothing."""
    with contextlib.suppress(OSError, PulkError):
        return read_bounded(_path(home), _LIMITS)
    return b""


def hear(home: Home, bundle: OpenBundle) -> None:
    """Keep the head in a verified work bundle where it is the newest."""
    places = bundle.find(CHUNK)
    if len(places) != 1:
        return
    raw = bundle.chunk(places[0])
    told, known = _read(home, raw), _read(home, newest(home))
    if told is not None and (known is None or told.order > known.order):
        publish.write_file(home.tmp, _path(home), raw)


def _read(home: Home, raw: bytes) -> Head | None:
    if not raw:
        return None
    try:
        return heads.read(raw, home.trust().central_keys())
    except heads.HeadRefused as error:
        _LOG.warning("central's head does not hold", extra={"reason": error.text()})
        return None


def _path(home: Home) -> Path:
    return state.folder(home.spool) / "head"
