"""Quarantine: what was refused is kept with the reason beside it, never deleted."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle.errors import PulkError
from bundle.media.copy import digest_of
from bundle.spool import publish
from bundle.spool.layout import Spool
from relay.listing import names

REASON = ".reason"
STRIKES_MAX = 3  # then a bundle is left alone for a while
REST_S = 6 * 3600.0
NAME_BYTES_MAX = 200  # a number before it and the suffix of the reason still fit a name


@dataclass(frozen=True, slots=True)
class Refused:
    """One file in quarantine."""

    path: Path
    code: str
    text: str


def put(spool: Spool, source: Path, error: PulkError) -> Path:
    """Move a file into quarantine with its reason; a name taken gets a number.

    The same bytes under the same name are kept once, and counted.
    """
    folder = spool.folder("quarantine")
    for known in _copies(folder, source.name):
        if _is_same(known, source):
            _write_reason(spool, known, error, _times(known) + 1)
            publish.remove(source)
            return known
    target = _free(folder, source.name)
    _write_reason(spool, target, error)
    publish.move(source, target)
    return target


def keeps_failing(spool: Spool, name: str) -> bool:
    """Return whether files of a name were refused so often, and of late, that it is left alone.

    Not for good: whoever plants copies under a name must not keep the right one away.
    """
    times, last = 0, 0.0
    for path in _copies(spool.folder("quarantine"), name):
        times += _times(path)
        with contextlib.suppress(FileNotFoundError):
            last = max(last, _reason_of(path).stat().st_mtime)
    return times >= STRIKES_MAX and 0 <= time.time() - last < REST_S


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


def _write_reason(spool: Spool, target: Path, error: PulkError, times: int = 1) -> None:
    about = {"code": error.code, "text": error.text(), **error.diagnostics(), "times": times}
    raw = json.dumps(about, indent=1).encode()
    publish.write_file(spool.folder("tmp"), _reason_of(target), raw)


def _reason_of(path: Path) -> Path:
    return path.with_name(path.name + REASON)


def _copies(folder: Path, name: str) -> list[Path]:
    """Return what lies there under a name, with a number before it or not."""
    wanted = _fitting(name)
    found = (one for one in names(folder) if one == wanted or one.endswith(f".{wanted}"))
    return [
        folder / one
        for one in found
        if one.removesuffix(wanted).rstrip(".").isdecimal() or one == wanted
    ]


def _times(path: Path) -> int:
    """Return how often a file was refused."""
    try:
        return max(1, int(json.loads(_reason_of(path).read_bytes())["times"]))
    except (OSError, ValueError, KeyError, TypeError):
        return 1


def _is_same(known: Path, source: Path) -> bool:
    """Return whether two plain files hold the same bytes; links and the like are never the same."""
    try:
        states = [os.lstat(known), os.lstat(source)]
        if not all(stat.S_ISREG(one.st_mode) for one in states):
            return False
        if states[0].st_size != states[1].st_size:
            return False
        return digest_of(known) == digest_of(source)
    except OSError:
        return False


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
