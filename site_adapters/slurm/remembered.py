"""What is remembered of each array: `FOLDER/NAME.submission` tells its id, then what ended.

Where the whole folder is lost, the comment of each batch job brings it back.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from site_adapters import submissions
from site_adapters.slurm.records import Ended, Submission
from site_adapters.submissions import is_being_submitted, is_forgotten

__all__ = [
    "begin",
    "drop",
    "every",
    "is_being_submitted",
    "is_forgotten",
    "new",
    "read",
    "save",
    "with_array",
]


def new(name: str, jobs: int, nodes: int) -> Submission:
    """Make the record of a submission by this process, now."""
    return Submission(name, jobs, nodes, time.time_ns() // 1000, *submissions.here())


def with_array(one: Submission, array: int) -> Submission:
    """Return it with its id."""
    return replace(one, array=array)


def _encode(one: Submission) -> dict[str, Any]:
    return {
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


_FILES = submissions.Files(".submission", _encode, _decode)
begin, save, read, every = _FILES.begin, _FILES.save, _FILES.read, _FILES.every


def drop(folder: Path, name: str) -> None:
    """Remove the file and the logs of a submission."""
    _FILES.drop(folder, name)
