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
    return submissions.to_wire(one) | {
        "nodes": one.nodes,
        "array": one.array,
        "ended": {str(at): [e.restarts, e.word, e.at_s] for at, e in sorted(one.ended.items())},
        "again": {str(at): times for at, times in sorted(one.again.items())},
    }


def _decode(name: str, said: dict[str, Any]) -> Submission:
    return Submission(
        name=name,
        **submissions.from_wire(said),
        nodes=int(said["nodes"]),
        array=int(said["array"]),
        ended={int(at): Ended(int(r), str(w), int(s)) for at, (r, w, s) in said["ended"].items()},
        again={int(at): int(times) for at, times in said["again"].items()},
    )


_FILES = submissions.Files(".submission", _encode, _decode)
begin, save, read, every = _FILES.begin, _FILES.save, _FILES.read, _FILES.every


def drop(folder: Path, name: str) -> None:
    """Remove the file and the logs of a submission."""
    _FILES.drop(folder, name)
