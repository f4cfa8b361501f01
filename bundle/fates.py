"""Why an attempt ended."""

from __future__ import annotations

from enum import StrEnum


class Fate(StrEnum):
    """How one attempt ended; the site's own fates never use up a task's retry budget."""

    SUCCESS = "success"
    PAYLOAD_ERROR = "payload-error"
    SIGNAL = "signal"
    OOM = "oom"
    TIME_LIMIT = "time-limit"
    DISK_LIMIT = "disk-limit"
    NETWORK_DENIED = "network-denied"
    STAGE_IN = "stage-in"
    STAGE_OUT = "stage-out"
    ALLOCATION_END = "allocation-end"
    NODE_FAILURE = "node-failure"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    LOST = "lost"


FATES: tuple[Fate, ...] = tuple(Fate)
"""The order is that of the wire: a fate travels as its index here. Append, never reorder."""

SITES_OWN = frozenset(
    {Fate.ALLOCATION_END, Fate.NODE_FAILURE, Fate.PREEMPTED, Fate.CANCELLED, Fate.LOST}
)


def counts(fate: Fate) -> bool:
    """Return whether an attempt with this fate uses up one unit of the task's retry budget."""
    return fate is not Fate.SUCCESS and fate not in SITES_OWN
