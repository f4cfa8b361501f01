"""What is remembered of each submission: one small file, read by any later relay process.

`FOLDER/NAME.cluster` is made exclusively before anything is submitted and tells, after it, the
cluster's number; then what ended. So a submission whose answer was never written down is found
again by its name, which an attribute of each job carries.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bundle.spool import publish
from site_adapters import process
from site_adapters.contract import Ending
from site_adapters.htcondor.records import Ended, Submission

SUFFIX, FORGOTTEN = ".cluster", ".forgotten"
SCRIPT, EVENTS, BACK = ".sh", ".events", ".back"
MARK_S = 7 * 86_400


def new(name: str, jobs: int, *, carries: bool, requeue: bool) -> Submission:
    """Make the record of a submission by this process, now."""
    own = process.look(os.getpid())
    submitter = (os.getpid(), own.start_ticks if own else 0)
    now_us = time.time_ns() // 1000
    return Submission(name, jobs, now_us, platform.node(), submitter, 0, carries, requeue)


def is_being_submitted(one: Submission) -> bool:
    """Return whether the process that submits it still lives, as far as this host can tell."""
    return one.host == platform.node() and process.is_alive(*one.submitter)


def begin(folder: Path, one: Submission) -> bool:
    """Write a new submission; False where there is one of this name."""
    publish.make_folder(folder)
    try:
        publish.write_new_file(folder, path(folder, one.name, SUFFIX), _encode(one))
    except publish.AlreadyThere:
        return False
    return True


def save(folder: Path, one: Submission) -> None:
    """Write what is known now; nothing where it was forgotten meanwhile."""
    if path(folder, one.name, SUFFIX).exists():
        publish.write_file(folder, path(folder, one.name, SUFFIX), _encode(one))


def drop(folder: Path, name: str) -> None:
    """Remove all files of a submission.

    A mark stays for as long as the queue may still show it, so that nobody finds it again there.
    """
    for mark in folder.glob(f"*{FORGOTTEN}"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - mark.stat().st_mtime > MARK_S:
                mark.unlink()
    path(folder, name, FORGOTTEN).touch()
    for one in (
        *folder.glob(f"{name}.*.log"),
        path(folder, name, EVENTS),
        path(folder, name, SCRIPT),
    ):
        one.unlink(missing_ok=True)
    publish.remove(path(folder, name, BACK))
    path(folder, name, SUFFIX).unlink(missing_ok=True)


def is_forgotten(folder: Path, name: str) -> bool:
    """Return whether a submission of this name was dropped of late."""
    return path(folder, name, FORGOTTEN).exists()


def read(folder: Path, name: str) -> Submission | None:
    """Read one submission; None where there is none, or a damaged one."""
    try:
        return _decode(name, json.loads(path(folder, name, SUFFIX).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def every(folder: Path) -> Iterator[Submission]:
    """Yield every submission, by name."""
    names = sorted(one.name for one in folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    for name in names:
        one = read(folder, name.removesuffix(SUFFIX))
        if one is not None:
            yield one


def path(folder: Path, name: str, suffix: str) -> Path:
    """Return a file of a submission."""
    return folder / f"{name}{suffix}"


def _encode(one: Submission) -> bytes:
    value: dict[str, Any] = {
        "jobs": one.jobs,
        "submitted_us": one.submitted_us,
        "host": one.host,
        "submitter": one.submitter,
        "cluster": one.cluster,
        "carries": one.carries,
        "requeue": one.requeue,
        "ended": {
            str(at): [e.start, e.ending, e.word, e.at_s, e.alone_s]
            for at, e in sorted(one.ended.items())
        },
        "missing_us": {str(at): us for at, us in sorted(one.missing_us.items())},
        "again": {str(at): start for at, start in sorted(one.again.items())},
        "forgotten": sorted(one.forgotten),
        "fetched": sorted(one.fetched),
    }
    return json.dumps(value).encode()


def _decode(name: str, said: dict[str, Any]) -> Submission:
    pid, ticks = said["submitter"]
    return Submission(
        name=name,
        jobs=int(said["jobs"]),
        submitted_us=int(said["submitted_us"]),
        host=str(said["host"]),
        submitter=(int(pid), int(ticks)),
        cluster=int(said["cluster"]),
        carries=bool(said["carries"]),
        requeue=bool(said["requeue"]),
        ended={
            int(at): Ended(int(start), Ending(ending), str(word), int(at_s), int(alone_s))
            for at, (start, ending, word, at_s, alone_s) in said["ended"].items()
        },
        missing_us={int(at): int(us) for at, us in said["missing_us"].items()},
        again={int(at): int(start) for at, start in said["again"].items()},
        forgotten=frozenset(map(str, said["forgotten"])),
        fetched=frozenset(map(int, said["fetched"])),
    )
