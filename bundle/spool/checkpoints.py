"""Checkpoints at a site: small records in `data/checkpoints/` that name files in `data/`.

One record a task, replaced whole. It may only be used for the task as it was: same generation, spec
hash and consumed inputs. Losing one costs time and nothing else.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from bundle import canonical, shape
from bundle.errors import PulkError
from bundle.ids import Task
from bundle.limits import SMALL_LIMITS
from bundle.spool import publish
from bundle.spool.bounded import read_bounded
from bundle.spool.layout import Spool

KEPT_S = 14 * 86_400
FOLDER = "checkpoints"

Row = tuple[str, bytes, int]
"""Name in the task's directory, digest, size in bytes."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What an attempt left to go on from. `at_us`: when, UTC microseconds."""

    generation: int
    spec_hash: bytes
    consumed: tuple[bytes, ...]
    files: tuple[Row, ...]
    attempt: str
    at_us: int


def path(spool: Spool, task: Task) -> Path:
    """Return where a task's record lies."""
    return spool.folder("data") / FOLDER / f"{task.dataset}-{task.job}-{task.step}"


def read(where: Path) -> Kept | None:
    """Read a record; None where there is none that can be used."""
    try:
        value = canonical.decode(read_bounded(where, SMALL_LIMITS), SMALL_LIMITS, where=str(where))
        row = shape.Reader.of(value, str(where))
        consumed = shape.Reader(row.rows("consumed"), f"{where}: consumed")
        return Kept(
            generation=row.count("generation"),
            spec_hash=row.bytes("spec_hash", 32),
            consumed=tuple(consumed.bytes(at, 32) for at in range(len(consumed.value))),
            files=tuple((r.text(0), r.bytes(1, 32), r.count(2)) for r in row.readers("files")),
            attempt=row.text("attempt"),
            at_us=row.count("at_us"),
        )
    except (OSError, PulkError):
        return None


def write(spool: Spool, task: Task, kept: Kept) -> None:
    """Replace a task's record. Raises OSError."""
    value = {name: getattr(kept, name) for name in Kept.__slots__}
    value |= {"consumed": list(kept.consumed), "files": [list(row) for row in kept.files]}
    target = path(spool, task)
    publish.make_folder(target.parent)
    publish.write_file(spool.folder("tmp"), target, canonical.encode(value))


def forget(spool: Spool, task: Task) -> None:
    """Remove a task's record; its files go when nothing else needs them."""
    with contextlib.suppress(OSError):
        path(spool, task).unlink()


def every_file(spool: Spool) -> set[bytes]:
    """Return the digests of all files that records name."""
    folder = spool.folder("data") / FOLDER
    found = (read(one) for one in folder.iterdir()) if folder.is_dir() else ()
    return {digest for kept in found if kept is not None for _, digest, _ in kept.files}
