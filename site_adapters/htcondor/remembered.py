"""What is remembered of each cluster: `FOLDER/NAME.cluster` tells its number, then what ended.

An attribute of each job carries the submission's name.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from site_adapters import submissions
from site_adapters.contract import Ending
from site_adapters.htcondor.records import Ended, Submission
from site_adapters.submissions import is_being_submitted, is_forgotten

__all__ = [
    "BACK",
    "EVENTS",
    "SCRIPT",
    "begin",
    "drop",
    "every",
    "is_being_submitted",
    "is_forgotten",
    "new",
    "path",
    "read",
    "save",
]

SCRIPT, EVENTS, BACK = ".sh", ".events", ".back"


def new(name: str, jobs: int, *, carries: bool, requeue: bool) -> Submission:
    """Make the record of a submission by this process, now."""
    now_us = time.time_ns() // 1000
    return Submission(name, jobs, now_us, *submissions.here(), 0, carries, requeue)


def path(folder: Path, name: str, suffix: str) -> Path:
    """Return a file beside that of a submission."""
    return folder / f"{name}{suffix}"


def _encode(one: Submission) -> dict[str, Any]:
    return submissions.to_wire(one) | {
        "cluster": one.cluster,
        "carries": one.carries,
        "requeue": one.requeue,
        "ended": {
            str(at): [e.start, e.ending, e.word, e.at_s, e.alone_s]
            for at, e in sorted(one.ended.items())
        },
        "again": {str(at): start for at, start in sorted(one.again.items())},
        "fetched": sorted(one.fetched),
    }


def _decode(name: str, said: dict[str, Any]) -> Submission:
    return Submission(
        name=name,
        **submissions.from_wire(said),
        cluster=int(said["cluster"]),
        carries=bool(said["carries"]),
        requeue=bool(said["requeue"]),
        ended={
            int(at): Ended(int(start), Ending(ending), str(word), int(at_s), int(alone_s))
            for at, (start, ending, word, at_s, alone_s) in said["ended"].items()
        },
        again={int(at): int(start) for at, start in said["again"].items()},
        fetched=frozenset(map(int, said["fetched"])),
    )


_FILES = submissions.Files(".cluster", _encode, _decode)
begin, save, read, every = _FILES.begin, _FILES.save, _FILES.read, _FILES.every


def drop(folder: Path, name: str) -> None:
    """Remove all files of a submission, and what came back of it."""
    _FILES.drop(folder, name, *(path(folder, name, one) for one in (EVENTS, SCRIPT, BACK)))
