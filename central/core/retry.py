"""Retry as central sees it: from the attempts it knows to a history, and what follows from it.

The decisions are `bundle.retry`'s, which the pilot uses too. A history is of one generation and
one spec hash: a reset, and an edit that changes the output, start anew.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def history(attempts: Sequence[AttemptFact], generation: int, spec_hash: bytes) -> History:
    """Return the history of a task.

    Args:
        attempts: those that count, each key once (`verdict.counted`).
        generation: the task's.
        spec_hash: of what is to run now.
    """
    found = NO_HISTORY
    for one in attempts:
        if matters(one) and one.generation == generation and one.spec_hash == spec_hash:
            found = retry.after(found, ended(one))
    return found


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
