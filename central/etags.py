"""ETags: what tells one state of a thing from another, by the bytes that show it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

ETAG_BYTES = 16


def as_bytes(value: Any) -> bytes:
    """Return plain values as a JSON document."""
    return json.dumps(value).encode() + b"\n"


def of(body: bytes) -> str:
    """Return the ETag of a body."""
    return f'"{hashlib.sha256(body).digest()[:ETAG_BYTES].hex()}"'


def of_value(value: Any) -> str:
    """Return the ETag of the document that shows plain values."""
    return of(as_bytes(value))


def fits(header: str, etag: str) -> bool:
    """Return whether a list of ETags, as If-Match and If-None-Match have it, names one."""
    named = [one.strip().removeprefix("W/") for one in header.split(",")]
    return "*" in named or etag in named
