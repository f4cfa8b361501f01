"""JSON answers."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web


def as_json(value: Any, status: int = 200) -> web.Response:
    """Return a JSON answer."""
    body = json.dumps(value).encode() + b"\n"
    return web.Response(body=body, status=status, content_type="application/json")
