"""Asks Slurm about all pilots at once: one squeue, and one sacct where the queue misses some."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bundle.spool import publish
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
WAIT_S_MAX = 900.0
DAY_S = 86_400
_LAST = "look"


@dataclass(frozen=True, slots=True)
class Queue:
    """What squeue said last, and when. `jobs` None: nothing, and `trouble` says why."""

    at_us: int
    jobs: tuple[Job, ...] | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class _Last:
    at_us: int = 0
    until_us: int = 0
    failures: int = 0
    trouble: str = ""
    output: bytes = b""


def queue(folder: Path, poll_s: float, limit_s: float) -> Queue:
    """Look at the queue, at most every `poll_s` seconds, more rarely while it does not answer.

    In between the last look counts, whoever made it.
    """
    last, now_us = _read(folder), time.time_ns() // 1000
    if last is None or not last.at_us <= now_us < last.until_us:
        last = _ask(last or _Last(), now_us, poll_s, limit_s)
        if poll_s:
            _write(folder, last)
    if last.trouble:
        return Queue(last.at_us, None, last.trouble)
    try:
        found = jobs.from_table(last.output, "squeue", QUEUE_COLUMNS, UNIT)
    except OutputRefused as error:
        return Queue(last.at_us, None, error.text())
    return Queue(last.at_us, tuple(found))


def _ask(last: _Last, now_us: int, poll_s: float, limit_s: float) -> _Last:
    marks = [UNIT] * (len(QUEUE_COLUMNS) - 1) + [RECORD]
    shown = ",".join(f"{name}:{mark}" for name, mark in zip(QUEUE_COLUMNS, marks, strict=True))
    argv = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}"]
    try:
        output, trouble, failures = run([*argv, f"--Format={shown}"], limit_s), "", 0
    except SchedulerFailed as error:
        output, trouble, failures = b"", error.text(), last.failures + 1
    wait_s = min(WAIT_S_MAX, poll_s * 2 ** min(failures, 10))
    until_us = now_us + int(random.uniform(1, 1.2) * wait_s * 1_000_000)  # noqa: S311
    return _Last(now_us, until_us, failures, trouble, output)


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


def _read(folder: Path) -> _Last | None:
    try:
        head, _, output = (folder / _LAST).read_bytes().partition(b"\n")
        said = json.loads(head)
        return _Last(
            int(said["at_us"]),
            int(said["until_us"]),
            int(said["failures"]),
            str(said["trouble"]),
            output,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(folder: Path, last: _Last) -> None:
    publish.make_folder(folder)
    facts = {name: getattr(last, name) for name in ("at_us", "until_us", "failures", "trouble")}
    publish.write_file(folder, folder / _LAST, json.dumps(facts).encode() + b"\n" + last.output)
