"""The status page on disk: `index.html` and `status.json`, each replaced whole by a tick."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from bundle.spool import publish
from relay import status
from relay.core.page import page
from relay.home import Home, now_us
from site_adapters.contract import PilotView

_LOG = logging.getLogger(__name__)
HTML, JSON = "index.html", "status.json"
PUBLIC_FOLDER, PUBLIC_FILE = 0o755, 0o644


def write(home: Home, views: Mapping[str, PilotView] | None) -> bool:
    """Write the page where relay.toml wants one and the last is old; return whether it was.

    `views`: what the adapter said; None: it is asked, if there is something to write.
    A page that can't be written is told and stops nothing: the tick has done its work.
    """
    wanted = home.config.status
    if not wanted.folder:
        return False
    folder = home.folder / wanted.folder
    if _is_fresh(folder / JSON, wanted.every_s):
        return False
    try:
        about = status.status(home, views)
        publish.make_folder(folder)
        if wanted.public:
            folder.chmod(PUBLIC_FOLDER)
        _replace(folder / HTML, page(about).encode("utf-8", "backslashreplace"), wanted.public)
        _replace(folder / JSON, json.dumps(about).encode(), wanted.public)
    except OSError as error:
        _LOG.warning("status page not written", extra={"reason": str(error)})
        return False
    return True


def _is_fresh(path: Path, every_s: float) -> bool:
    try:
        return 0 <= now_us() / 1_000_000 - path.stat().st_mtime < every_s
    except OSError:
        return False


def _replace(path: Path, data: bytes, public: bool) -> None:
    with publish.replacing(path) as file:
        file.write(data)
        if public:
            os.fchmod(file.fileno(), PUBLIC_FILE)
    publish.fsync_folder(path.parent)
