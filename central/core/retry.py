"""Retry as central sees it: from the attempts it knows to a history, and what follows from it.

The decisions are `bundle.retry`'s, which the pilot uses too. A history is of one generation and
one spec hash: a reset, and an edit that changes the output, start anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bundle import retry
from bundle.fates import counts
from bundle.ids import PilotRun
from bundle.records.rules import NO_HISTORY, History
from bundle.retry import (
    LOSSES,
    Ended,
    Exhausted,
    exhausted,
    is_poison,
    is_suspect,
    not_before,
    outgrown,
    request_for,
)
from central.core.facts import AttemptFact

__all__ = [
    "LOSSES",
    "Exhausted",
    "counted",
    "ended",
    "exhausted",
    "history",
    "is_poison",
    "is_suspect",
    "matters",
    "not_before",
    "outgrown",
    "request_for",
]


def matters(one: AttemptFact) -> bool:
    """Return whether retry rests on an attempt: it failed and counts, or a pilot died under it."""
    return counts(one.fate) or one.fate in LOSSES


def history(
    attempts: Sequence[AttemptFact], takes: Callable[[int], bool], spec_hash: bytes
) -> History:
    """Return the history of a task.

    Args:
        attempts: all that are known of it, in any order.
        takes: tells whether results of a generation count.
        spec_hash: of what is to run now.
    """

    def is_alike(one: AttemptFact) -> bool:
        return matters(one) and takes(one.generation) and one.spec_hash == spec_hash

    if not any(map(is_alike, attempts)):
        return NO_HISTORY
    # A key fails once, and takes a pilot down once, if any of its contents says so: neither ever
    # gets less by what arrives later.
    alike = [one for one in attempts if is_alike(one)]
    losses = {one.key: one for one in alike if one.fate in LOSSES}
    failures = counted([one for one in alike if one.fate not in LOSSES])
    return retry.history(ended(one) for one in (*losses.values(), *failures))


def counted(attempts: Sequence[AttemptFact]) -> Sequence[AttemptFact]:
    """Return the attempts whose hours count: of two contents of one key the smaller digest."""
    if len(attempts) < 2:
        return attempts
    by_key: dict[tuple[int, bytes, bytes, int], AttemptFact] = {}
    for one in attempts:
        other = by_key.get(one.key)
        if other is None or one.content < other.content:
            by_key[one.key] = one
    return list(by_key.values())


def ended(one: AttemptFact) -> Ended:
    """Return what retry needs of an attempt."""
    return Ended(
        one.fate,
        PilotRun(one.pilot_run),
        one.ended_us,
        one.memory_peak_mib,
        one.wall_ms,
        one.disk_peak_bytes,
    )
