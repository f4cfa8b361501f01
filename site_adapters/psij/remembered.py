"""What is remembered: `FOLDER/NAME.psij`, and in `FOLDER/NAME.files` what nodes wrote."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from bundle.spool import publish
from site_adapters import submissions
from site_adapters.psij import script
from site_adapters.psij.records import Marks, Submission
from site_adapters.submissions import is_being_submitted

__all__ = [
    "begin",
    "claim",
    "drop",
    "every",
    "files",
    "is_being_submitted",
    "marks",
    "new",
    "read",
    "save",
    "write_script",
]


def new(name: str, jobs: int) -> Submission:
    """Make the record of a submission by this process, now."""
    return Submission(name, jobs, time.time_ns() // 1000, *submissions.here())


def _encode(one: Submission) -> dict[str, Any]:
    return submissions.to_wire(one) | {
        "native": {str(at): text for at, text in sorted(one.native.items())},
        "ended": {str(at): word for at, word in sorted(one.ended.items())},
    }


def _decode(name: str, said: dict[str, Any]) -> Submission:
    return Submission(
        name=name,
        **submissions.from_wire(said),
        native={int(at): str(text) for at, text in said["native"].items()},
        ended={int(at): str(word) for at, word in said["ended"].items()},
    )


_FILES = submissions.Files(".psij", _encode, _decode)
begin, save, read, every = _FILES.begin, _FILES.save, _FILES.read, _FILES.every


def files(folder: Path, name: str) -> Path:
    """Return the folder of a submission's scripts and marks."""
    return folder / f"{name}.files"


def drop(folder: Path, name: str) -> None:
    """Remove all of a submission."""
    _FILES.drop(folder, name, files(folder, name))


def claim(folder: Path, name: str, job: int) -> bool:
    """Take a batch job's claim, so that it never begins; False where it has, or none can tell."""
    try:
        (files(folder, name) / f"{job}{script.CLAIM}").mkdir()
    except OSError:
        return False
    return True


def marks(folder: Path, name: str, job: int) -> Marks:
    """Read what a batch job wrote of itself."""
    home = files(folder, name)
    native, began_us, status = "", 0, None
    with contextlib.suppress(OSError):
        path = home / f"{job}{script.BEGAN}"
        native = path.read_text(errors="replace").strip()
        began_us = path.stat().st_mtime_ns // 1000
    with contextlib.suppress(OSError, ValueError):
        status = int((home / f"{job}{script.ENDED}").read_text())
    claimed = (home / f"{job}{script.CLAIM}").exists()
    return Marks(claimed or began_us > 0, native if native.isprintable() else "", began_us, status)


def write_script(folder: Path, name: str, job: int, text: str) -> Path:
    """Write the script of a pilot; return its path."""
    home = files(folder, name)
    publish.make_folder(home)
    path = home / f"{job}{script.SCRIPT}"
    publish.write_file(home, path, text.encode(), mode=0o700)
    return path
