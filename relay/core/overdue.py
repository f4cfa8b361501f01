"""What at this site needs a person: alarms in words, each with what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bundle.age import age

DAY_S = 86_400
WAITING_S = 2 * DAY_S  # in the scheduler's queue
UNANSWERED_S = 3 * DAY_S  # since a bundle was handed over
STALE_S = 3600  # since the last tick
HELD_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """One pilot's batch job. `age_s`: since it was submitted, None where unknown."""

    job: str
    state: str
    reason: str
    age_s: int | None


@dataclass(frozen=True, slots=True)
class Signs:
    """What alarms rest on. Ages and times to come are seconds, None where there is none.

    `silence`, `purge`, `trouble`: what is to be said of central's silence, of the site's purge, of
    the way to central, or nothing. `late_tasks`: open ones whose time to start is over.
    """

    silence: str = ""
    forked: bool = False
    batch: Sequence[Batch] = ()
    unanswered_s: int | None = None
    late_tasks: int = 0
    free_bytes: int = 0
    free_bytes_min: int = 0
    free_inodes: int | None = None
    free_inodes_min: int = 0
    purge: str = ""
    trouble: str = ""
    quarantined: int = 0
    ticked_s: int | None = None


def alarms(signs: Signs) -> list[str]:
    """Return what a person is to look at, the gravest first."""
    found = []
    if signs.forked:
        found.append(
            "central contradicts itself and nothing of it is taken: its operator decides by"
            " `pulk central take-over`, or you by `pulk relay heed`"
        )
    if 0 <= signs.free_bytes < signs.free_bytes_min:
        found.append(
            f"the disk has {signs.free_bytes} bytes free, less than the {signs.free_bytes_min} to"
            " be left: no work is taken until there is space"
        )
    if signs.free_inodes is not None and signs.free_inodes < signs.free_inodes_min:
        found.append(
            f"the disk has {signs.free_inodes} inodes free, less than the {signs.free_inodes_min}"
            " to be left: no work is taken until there are more"
        )
    if signs.purge:
        found.append(f"{signs.purge}: carry them home, or ask for more time")
    if signs.trouble:
        found.append(signs.trouble)
    if signs.silence:
        found.append(f"{signs.silence}: look after carrier, clock and central's operator")
    if signs.ticked_s is not None and signs.ticked_s > STALE_S:
        found.append(
            f"the last tick was {age(signs.ticked_s)} ago: cron is off, or ticks do not get through"
        )
    found += _batch(signs.batch)
    if signs.unanswered_s is not None and signs.unanswered_s > UNANSWERED_S:
        found.append(
            f"a bundle was handed over {age(signs.unanswered_s)} ago and nothing came back: look"
            " after carrier or courier"
        )
    if signs.late_tasks:
        found.append(f"{signs.late_tasks} tasks were not started in time: central leases them anew")
    if signs.quarantined:
        found.append(f"{signs.quarantined} files were refused and lie in `quarantine`")
    return found


def _batch(jobs: Iterable[Batch]) -> list[str]:
    held = [one for one in jobs if one.state == "held"]
    found = [
        f"batch job {one.job or '?'} is held ({one.reason or 'no reason told'}): release or cancel"
        " it"
        for one in held[:HELD_SHOWN]
    ]
    if len(held) > HELD_SHOWN:
        found.append(f"{len(held) - HELD_SHOWN} more batch jobs are held")
    late = [one for one in jobs if one.state == "waiting" and (one.age_s or 0) > WAITING_S]
    if late:
        oldest = max(late, key=lambda one: one.age_s or 0)
        found.append(
            f"{len(late)} batch jobs wait for long, {oldest.job or 'one'} for"
            f" {age(oldest.age_s or 0)} ({oldest.reason or 'no reason told'})"
        )
    unknown = sum(one.state == "unknown" for one in jobs)
    if unknown:
        found.append(f"of {unknown} pilots nothing is known: does the scheduler answer?")
    return found
