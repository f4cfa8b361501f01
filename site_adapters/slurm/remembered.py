"""What is remembered of each submission: one small file, read by any later relay process.

`FOLDER/NAME.submission` is made exclusively before sbatch runs and tells, after it, the array's
id; then what ended. So a submission whose answer was never written down is found again by its
name. Where the whole folder is lost, the comment of each batch job brings it back.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bundle.spool import publish
from site_adapters import process
from site_adapters.slurm.records import Ended, Submission

SUFFIX, FORGOTTEN = ".submission", ".forgotten"
MARK_S = 7 * 86_400


def new(name: str, jobs: int, nodes: int) -> Submission:
    """Make the record of a submission by this process, now."""
    own = process.look(os.getpid())
    submitter = (os.getpid(), own.start_ticks if own else 0)
    return Submission(name, jobs, nodes, now_us(), platform.node(), submitter)


def now_us() -> int:
    """Return UTC microseconds by this machine's clock."""
    return time.time_ns() // 1000


def is_being_submitted(one: Submission) -> bool:
    """Return whether the process that submits it still lives, as far as this host can tell."""
    return one.host == platform.node() and process.is_alive(*one.submitter)


def begin(folder: Path, one: Submission) -> bool:
    """Write a new submission; False where there is one of this name."""
    publish.make_folder(folder)
    try:
        publish.write_new_file(folder, _path(folder, one.name), _encode(one))
    except publish.AlreadyThere:
        return False
    return True


def save(folder: Path, one: Submission) -> None:
    """Write what is known now; nothing where it was forgotten meanwhile."""
    if _path(folder, one.name).exists():
        publish.write_file(folder, _path(folder, one.name), _encode(one))


def drop(folder: Path, name: str) -> None:
    """Remove the file and the logs of a submission.

    A mark stays for as long as the queue may still show it, so that nobody finds it again there.
    """
    for mark in folder.glob(f"*{FORGOTTEN}"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - mark.stat().st_mtime > MARK_S:
                mark.unlink()
    (folder / f"{name}{FORGOTTEN}").touch()
    for path in (*folder.glob(f"{name}.*.log"), _path(folder, name)):
        path.unlink(missing_ok=True)


def is_forgotten(folder: Path, name: str) -> bool:
    """Return whether a submission of this name was dropped of late."""
    return (folder / f"{name}{FORGOTTEN}").exists()


def read(folder: Path, name: str) -> Submission | None:
    """Read one submission; None where there is none, or a damaged one."""
    try:
        return _decode(name, json.loads(_path(folder, name).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def every(folder: Path) -> Iterator[Submission]:
    """Yield every submission, by name."""
    names = sorted(path.name for path in folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    for name in names:
        one = read(folder, name.removesuffix(SUFFIX))
        if one is not None:
            yield one


def with_array(one: Submission, array: int) -> Submission:
    """Return it with its id."""
    return replace(one, array=array)


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}{SUFFIX}"


def _encode(one: Submission) -> bytes:
    value: dict[str, Any] = {
        "jobs": one.jobs,
        "nodes": one.nodes,
        "submitted_us": one.submitted_us,
        "host": one.host,
        "submitter": one.submitter,
        "array": one.array,
        "ended": {str(at): [e.restarts, e.word, e.at_s] for at, e in sorted(one.ended.items())},
        "missing_us": {str(at): us for at, us in sorted(one.missing_us.items())},
        "again": {str(at): times for at, times in sorted(one.again.items())},
        "forgotten": sorted(one.forgotten),
    }
    return json.dumps(value).encode()


def _decode(name: str, said: dict[str, Any]) -> Submission:
    pid, ticks = said["submitter"]
    return Submission(
        name=name,
        jobs=int(said["jobs"]),
        nodes=int(said["nodes"]),
        submitted_us=int(said["submitted_us"]),
        host=str(said["host"]),
        submitter=(int(pid), int(ticks)),
        array=int(said["array"]),
        ended={int(at): Ended(int(r), str(w), int(s)) for at, (r, w, s) in said["ended"].items()},
        missing_us={int(at): int(us) for at, us in said["missing_us"].items()},
        again={int(at): int(times) for at, times in said["again"].items()},
        forgotten=frozenset(map(str, said["forgotten"])),
    )
