"""Quarantine: what was refused is kept with the reason beside it, never deleted."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle.errors import PulkError
from bundle.spool import publish
from bundle.spool.layout import Spool
from relay.listing import names

REASON = ".reason"
NAME_BYTES_MAX = 200  # a number before it and the suffix of the reason still fit a name


@dataclass(frozen=True, slots=True)
class Refused:
    """One file in quarantine."""

    path: Path
    code: str
    text: str


def put(spool: Spool, source: Path, error: PulkError) -> Path:
    """Move a file into quarantine with its reason; a name taken gets a number."""
    folder = spool.folder("quarantine")
    target = _free(folder, source.name)
    _write_reason(spool, target, error)
    publish.move(source, target)
    return target


def put_bytes(spool: Spool, name: str, data: bytes, error: PulkError) -> Path:
    """Keep bytes in quarantine with their reason; the same bytes under the same name once."""
    folder = spool.folder("quarantine")
    target = folder / name
    if target.exists() and target.read_bytes() == data:
        return target
    target = _free(folder, name)
    _write_reason(spool, target, error)
    publish.write_file(spool.folder("tmp"), target, data)
    return target


def every(spool: Spool) -> Iterator[Refused]:
    """Yield what lies in quarantine, sorted by name."""
    folder = spool.folder("quarantine")
    for name in names(folder):
        if name.endswith(REASON):
            continue
        reason = folder / f"{name}{REASON}"
        try:
            about = json.loads(reason.read_text())
            yield Refused(folder / name, str(about["code"]), str(about["text"]))
        except (OSError, ValueError, KeyError, TypeError):
            yield Refused(folder / name, "unknown", "the reason was lost")


def release(refused: Refused, target: Path) -> None:
    """Take a file out of quarantine."""
    if publish.move(refused.path, target):
        publish.remove(refused.path.with_name(refused.path.name + REASON))


def _write_reason(spool: Spool, target: Path, error: PulkError) -> None:
    about = {"code": error.code, "text": error.text(), **error.diagnostics()}
    raw = json.dumps(about, indent=1).encode()
    publish.write_file(spool.folder("tmp"), target.with_name(target.name + REASON), raw)


def _fitting(name: str) -> str:
    """Return a file's name, or one made from it where no reason could lie beside it under it."""
    raw = os.fsencode(name)
    if len(raw) <= NAME_BYTES_MAX and name.isprintable():
        return name
    suffix = ".pulk" if name.endswith(".pulk") else ""
    return f"renamed-{hashlib.sha256(raw).hexdigest()[:32]}{suffix}"


def _free(folder: Path, name: str) -> Path:
    name = _fitting(name)
    target, number = folder / name, 1
    while target.exists():
        number += 1
        target = folder / f"{number}.{name}"
    return target
