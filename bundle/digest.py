"""SHA-256 with a domain prefix per kind of thing.

A digest of one kind can therefore never be taken for a digest of another. The one exception is a
file's digest, which is the plain SHA-256 of its bytes, so that `sha256sum` shows the same.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

PLAIN_KINDS = frozenset({"data", "piece"})  # of chunks: their digest is the plain SHA-256


def digest(kind: str, data: bytes) -> bytes:
    """Return the 32 bytes SHA-256 over `pulk:<kind>:1\\n` and the data."""
    return hashlib.sha256(_prefix(kind) + data).digest()


def start(kind: str, data: bytes = b"") -> Any:
    """Start a digest of a kind that is fed piece by piece (`update`, `digest`)."""
    running = hashlib.sha256(_prefix(kind))
    running.update(data)
    return running


def chunk_start(kind: str) -> Any:
    """Start the digest of a chunk's raw bytes; of files and their pieces it is the plain one."""
    return hashlib.sha256() if kind in PLAIN_KINDS else start(f"chunk.{kind}")


def chunk_digest(kind: str, raw: bytes) -> bytes:
    """Return the digest of a whole chunk's raw bytes."""
    running = chunk_start(kind)
    running.update(raw)
    return bytes(running.digest())


def file_digest(path: Path) -> bytes:
    """Return the plain SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


@cache
def _prefix(kind: str) -> bytes:
    return f"pulk:{kind}:1\n".encode()
