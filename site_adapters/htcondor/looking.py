"""Asks a pool about all pilots at once: one query, and one of the history where it misses some."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from site_adapters import looks
from site_adapters.errors import BindingsMissing, OutputRefused, SchedulerFailed
from site_adapters.htcondor import event_log, jobs, judge, remembered
from site_adapters.htcondor.bindings import Bindings
from site_adapters.htcondor.jobs import Job
from site_adapters.htcondor.records import Submission

DAY_S = 86_400
EVENTS_BYTES_MAX = 16 << 20
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


def queue(folder: Path, bindings: Bindings, home: str, poll_s: float) -> Queue:
    """Look at the queue, at most every `poll_s` seconds, more rarely while it does not answer.

    In between the last look counts, whoever made it.
    """
    last, is_new = looks.look(folder, poll_s, lambda: _ask(bindings, home), Troubles)
    if last.trouble:
        return Queue(last.at_us, None, last.trouble)
    try:
        found = jobs.from_ads(json.loads(last.output))
    except OutputRefused as error:
        return Queue(last.at_us, None, error.text())
    return Queue(last.at_us, tuple(found), is_new=is_new)


def _ask(bindings: Bindings, home: str) -> bytes:
    constraint = f'PulkHome == "{home}"'
    ads = bindings.of_schedd("query", constraint=constraint, attributes=list(jobs.ATTRIBUTES))
    return json.dumps(ads).encode()


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
