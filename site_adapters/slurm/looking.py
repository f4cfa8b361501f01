"""Asks Slurm about all pilots at once: one squeue, and one sacct where the queue misses some."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from site_adapters import looks
from site_adapters.errors import OutputRefused, SchedulerFailed
from site_adapters.slurm import jobs
from site_adapters.slurm.commands import run
from site_adapters.slurm.jobs import Job
from site_adapters.slurm.records import Submission
from site_adapters.slurm.tables import RECORD, UNIT

QUEUE_COLUMNS = (
    "JobArrayID",
    "State",
    "RestartCnt",
    "Reason",
    "SubmitTime",
    "EndTime",
    "Comment",
    "Name",
)
PAST_COLUMNS = ("JobID", "State", "ExitCode", "Submit", "End", "JobName")
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Queue:
    """What squeue said last, and when. `jobs` None: nothing, and `trouble` says why."""

    at_us: int
    jobs: tuple[Job, ...] | None
    trouble: str = ""


def queue(folder: Path, poll_s: float, limit_s: float) -> Queue:
    """Look at the queue, at most every `poll_s` seconds, more rarely while it does not answer.

    In between the last look counts, whoever made it.
    """
    last, _ = looks.look(folder, poll_s, lambda: _ask(limit_s), (SchedulerFailed,))
    if last.trouble:
        return Queue(last.at_us, None, last.trouble)
    try:
        found = jobs.from_table(last.output, "squeue", QUEUE_COLUMNS, UNIT)
    except OutputRefused as error:
        return Queue(last.at_us, None, error.text())
    return Queue(last.at_us, tuple(found))


def _ask(limit_s: float) -> bytes:
    """Run squeue. Raises SchedulerFailed."""
    marks = [UNIT] * (len(QUEUE_COLUMNS) - 1) + [RECORD]
    shown = ",".join(f"{name}:{mark}" for name, mark in zip(QUEUE_COLUMNS, marks, strict=True))
    argv = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}"]
    return run([*argv, f"--Format={shown}"], limit_s)


def past(missing: Sequence[Submission], limit_s: float) -> list[Job]:
    """Return what accounting knows of submissions, each start of each element.

    Raises SchedulerFailed, OutputRefused.
    """
    since_s = min(one.submitted_us for one in missing) // 1_000_000 - DAY_S
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since_s))
    argv = ["sacct", "--noheader", "--parsable2", f"--delimiter={UNIT}", "--allocations",
            "--duplicates", f"--user={os.getuid()}", f"--format={','.join(PAST_COLUMNS)}",
            f"--name={','.join(one.name for one in missing)}",
            f"--starttime={since}"]  # fmt: skip
    return jobs.from_table(run(argv, limit_s), "sacct", PAST_COLUMNS, UNIT)
