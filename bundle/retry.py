"""Whether, when and with what a task is tried again: the one code that central and pilot share.

Pure functions of a task's `History` and its step's `RetryRules`. Both ends fold the same attempts
into the same history, in whatever order they see them, and so decide alike.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from bundle.dataset.spec import Request
from bundle.fates import FATES, Fate, counts
from bundle.ids import PilotRun, Task
from bundle.records.rules import (
    AMOUNT_MAX,
    NO_HISTORY,
    TIME_US_MAX,
    UNKNOWN,
    USED_MAX,
    History,
    Maximum,
    RetryRules,
)

RESOURCES = (Fate.OOM, Fate.TIME_LIMIT, Fate.DISK_LIMIT)
LOSSES = frozenset({Fate.LOST, Fate.NODE_FAILURE})
"""Fates of attempts under which a pilot or its slot died. The site's own, yet poison shows by them:
an allocation that ends and a pilot that is told to go say nothing of the task."""
LOSSES_PER_PILOT = 3  # a pilot does not try a task again that it lost so often
_BACKS_OFF = frozenset(fate for fate in FATES if counts(fate)) - frozenset(RESOURCES)


class Exhausted(StrEnum):
    """Why a task is not tried again; empty where it may be."""

    NOT = ""
    FAILURES = "failures"  # all together
    PAYLOAD = "payload"
    RESOURCES = "resources"
    NETWORK = "network"
    STAGING = "staging"
    POISON = "poison"  # it took down as many pilots as a task may


_CAPS = (
    (Exhausted.PAYLOAD, "payload_max", (Fate.PAYLOAD_ERROR, Fate.SIGNAL)),
    (Exhausted.RESOURCES, "resources_max", RESOURCES),
    (Exhausted.NETWORK, "network_max", (Fate.NETWORK_DENIED,)),
    (Exhausted.STAGING, "staging_max", (Fate.STAGE_IN, Fate.STAGE_OUT)),
)


class Ended(NamedTuple):
    """One attempt, as far as retry rests on it. `ended_us` is UTC microseconds by its node."""

    fate: Fate
    pilot_run: PilotRun
    ended_us: int = 0
    memory_peak_mib: int = 0
    wall_ms: int = 0
    disk_peak_bytes: int = 0


def history(attempts: Iterable[Ended], earlier: History = NO_HISTORY) -> History:
    """Return what counts of attempts, each given once, beside an earlier history."""
    found = earlier
    for one in attempts:
        found = after(found, one)
    return found


def after(earlier: History, one: Ended) -> History:
    """Return the history with one more attempt; a success and the site's own leave it as it is."""
    fate = one.fate
    if fate in LOSSES:
        lost_on = earlier.lost_on | {one.pilot_run}
        return replace(earlier, lost_on=lost_on, losses=earlier.losses + 1)
    if not counts(fate):
        return earlier
    failures = dict(earlier.failures)
    failures[fate] = failures.get(fate, 0) + 1
    peaks = [earlier.memory_peak_mib, earlier.wall_peak_ms, earlier.disk_peak_bytes]
    if fate in RESOURCES:
        used = (one.memory_peak_mib, one.wall_ms, one.disk_peak_bytes)
        at = RESOURCES.index(fate)
        peaks[at] = max(peaks[at], min(used[at], USED_MAX))
    backs_off = fate in _BACKS_OFF
    return History(
        tuple(sorted(failures.items(), key=lambda pair: FATES.index(pair[0]))),
        peaks[0],
        peaks[1],
        peaks[2],
        max(earlier.ended_us, min(one.ended_us, TIME_US_MAX)) if backs_off else earlier.ended_us,
        earlier.lost_on,
        earlier.losses,
    )


def is_poison(known: History, rules: RetryRules) -> bool:
    """Return whether a task took down as many pilots as one may.

    Or, where few pilots live long, slot after slot of them: as often as that many pilots would try.
    """
    return 0 < rules.pilots_max <= _taken_down(known)


def is_suspect(known: History, rules: RetryRules) -> bool:
    """Return whether one more loss may make a task poison: such a one runs beside no other."""
    once_more = replace(known, losses=known.losses + 1)
    most = max(len(known.lost_on) + 1, _taken_down(once_more))
    return bool(known.lost_on) and 0 < rules.pilots_max <= most


def exhausted(known: History, rules: RetryRules, failures_max: int) -> Exhausted:
    """Return why a task is not tried again, or `Exhausted.NOT`."""
    if is_poison(known, rules):
        return Exhausted.POISON
    if known.count() >= failures_max:
        return Exhausted.FAILURES
    for word, name, fates in _CAPS:
        if 0 < getattr(rules, name) <= known.count(*fates):
            return word
    return Exhausted.NOT


def not_before(known: History, rules: RetryRules, task: Task, now_us: int) -> int:
    """Return when a task may start again, UTC microseconds; 0 where it need not wait.

    Running out of a resource is answered by more of it, not by waiting. A failure that ended in
    the future, by a clock that is wrong, lets nobody wait.
    """
    failures = known.count(*_BACKS_OFF)
    if not failures or not rules.backoff_ms or known.ended_us > now_us:
        return 0
    delay_ms = rules.backoff_ms
    for _ in range(failures - 1):
        delay_ms = min(delay_ms * rules.backoff_milli // 1000, rules.backoff_ms_max)
    delay_ms = min(delay_ms, rules.backoff_ms_max)
    # By the task's name and not by chance: every reader gets the same, and tasks that failed
    # together do not come back together.
    share = zlib.crc32(f"{task}#{failures}".encode()) & 0xFFFF
    taken_off_us = delay_ms * rules.jitter_milli * share // 0x10000
    return known.ended_us + delay_ms * 1000 - taken_off_us


def request_for(
    asked: Request,
    known: History,
    rules: RetryRules,
    maximum: Maximum = UNKNOWN,
    first: Request | None = None,
) -> Request:
    """Return what the next try of a task asks for.

    A resource grows only where an attempt ran out of it: by the rule's factor for each such
    attempt, and over what was seen used, at most to the rule's ceiling and the maximum; it never
    gets less than `asked`. All others, cpu and gpu among them, stay.

    Args:
        asked: the step's request, as its document says.
        known: the task's history.
        rules: the step's.
        maximum: the most that a task can get where it will run.
        first: what a first try asks for, where that was learned; `asked` else.
    """
    base = asked if first is None else first
    if not known.count(*RESOURCES):
        return base
    return replace(
        base,
        memory_mib=_grown(
            (asked.memory_mib, base.memory_mib, known.memory_peak_mib),
            known.count(Fate.OOM),
            rules.memory_milli,
            (rules.memory_mib_max, maximum.memory_mib),
        ),
        walltime_ms=_grown(
            (asked.walltime_ms, base.walltime_ms, known.wall_peak_ms),
            known.count(Fate.TIME_LIMIT),
            rules.walltime_milli,
            (rules.walltime_ms_max, maximum.walltime_ms),
        ),
        disk_bytes=_grown(
            (asked.disk_bytes, base.disk_bytes, known.disk_peak_bytes),
            known.count(Fate.DISK_LIMIT),
            rules.disk_milli,
            (rules.disk_bytes_max, maximum.disk_bytes),
        ),
    )


def outgrown(known: History, maximum: Maximum) -> tuple[Fate, ...]:
    """Return the fates that a task would only meet again where no more than `maximum` is to be had.

    It ran out of the resource while it used at least that much.
    """
    pairs = (
        (Fate.OOM, known.memory_peak_mib, maximum.memory_mib),
        (Fate.TIME_LIMIT, known.wall_peak_ms, maximum.walltime_ms),
        (Fate.DISK_LIMIT, known.disk_peak_bytes, maximum.disk_bytes),
    )
    return tuple(fate for fate, used, most in pairs if 0 < most <= used)


def _taken_down(known: History) -> int:
    return max(len(known.lost_on), known.losses // LOSSES_PER_PILOT)


def _grown(
    amounts: tuple[int, int, int], times: int, factor_milli: int, limits: tuple[int, int]
) -> int:
    """Return a resource after it ran out some times; amounts are asked, base and the peak used."""
    asked, base, peak = amounts
    if not times:
        return base
    grown = base
    for _ in range(times):
        grown = min(-(-grown * factor_milli // 1000), AMOUNT_MAX)
    if factor_milli > 1000:
        grown = max(grown, -(-peak * factor_milli // 1000))
    for limit in limits:
        if limit:
            grown = min(grown, limit)
    return max(asked, base, min(grown, AMOUNT_MAX))
