"""Asks a pool about all pilots at once: one query, and one of the history where it misses some."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle.spool import publish
from site_adapters.errors import BindingsMissing, OutputRefused, SchedulerFailed
from site_adapters.htcondor import event_log, jobs, judge, remembered
from site_adapters.htcondor.bindings import Bindings
from site_adapters.htcondor.jobs import Job
from site_adapters.htcondor.records import Submission

WAIT_S_MAX = 900.0
DAY_S = 86_400
EVENTS_BYTES_MAX = 16 << 20
_LAST = "look"
Troubles = (SchedulerFailed, OutputRefused, BindingsMissing)


@dataclass(frozen=True, slots=True)
class Queue:
    """What the queue said last, and when. `jobs` None: nothing, and `trouble` says why.

    `is_new`: it was asked just now.
    """

    at_us: int
    jobs: tuple[Job, ...] | None
    trouble: str = ""
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class _Last:
    at_us: int = 0
    until_us: int = 0
    failures: int = 0
    trouble: str = ""
    ads: list[dict[str, Any]] | None = None


def queue(folder: Path, bindings: Bindings, home: str, poll_s: float) -> Queue:
    """Look at the queue, at most every `poll_s` seconds, more rarely while it does not answer.

    In between the last look counts, whoever made it.
    """
    last, now_us = _read(folder), time.time_ns() // 1000
    is_new = last is None or not last.at_us <= now_us < last.until_us
    if last is None or is_new:
        last = _ask(last or _Last(), bindings, home, now_us, poll_s)
        if poll_s:
            _write(folder, last)
    if last.ads is None:
        return Queue(last.at_us, None, last.trouble)
    try:
        return Queue(last.at_us, tuple(jobs.from_ads(last.ads)), is_new=is_new)
    except OutputRefused as error:
        return Queue(last.at_us, None, error.text())


def _ask(last: _Last, bindings: Bindings, home: str, now_us: int, poll_s: float) -> _Last:
    try:
        constraint = f'PulkHome == "{home}"'
        ads = bindings.of_schedd("query", constraint=constraint, attributes=list(jobs.ATTRIBUTES))
        trouble, failures = "", 0
    except Troubles as error:
        ads, trouble, failures = None, error.text(), last.failures + 1
    wait_s = min(WAIT_S_MAX, poll_s * 2 ** min(failures, 10))
    until_us = now_us + int(random.uniform(1, 1.2) * wait_s * 1_000_000)  # noqa: S311
    return _Last(now_us, until_us, failures, trouble, ads)


def past(bindings: Bindings, home: str, missing: Sequence[Submission]) -> list[Job]:
    """Return what the history knows of submissions. Raises SchedulerFailed and the like."""
    names = " || ".join(f'PulkName == "{one.name}"' for one in missing)
    since_s = min(one.submitted_us for one in missing) // 1_000_000 - DAY_S
    ads = bindings.of_schedd(
        "history",
        constraint=f'PulkHome == "{home}" && ({names})',
        attributes=list(jobs.ATTRIBUTES),
        since_s=since_s,
    )
    return jobs.from_ads(ads, "condor_history")


def logged(folder: Path, one: Submission) -> dict[judge.Id, Job]:
    """Return what the event log of a submission says has ended; nothing where it can't be read."""
    try:
        path = remembered.path(folder, one.name, remembered.EVENTS)
        if path.stat().st_size > EVENTS_BYTES_MAX:
            return {}
        return event_log.ended(event_log.events(path.read_bytes()))
    except (OSError, OutputRefused):
        return {}


def _read(folder: Path) -> _Last | None:
    try:
        said = json.loads((folder / _LAST).read_bytes())
        ads = said["ads"]
        return _Last(
            int(said["at_us"]),
            int(said["until_us"]),
            int(said["failures"]),
            str(said["trouble"]),
            None if ads is None else [dict(one) for one in ads],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(folder: Path, last: _Last) -> None:
    publish.make_folder(folder)
    facts = {name: getattr(last, name) for name in _Last.__slots__}
    publish.write_file(folder, folder / _LAST, json.dumps(facts).encode())
