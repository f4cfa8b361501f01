"""How many pilots to start now."""

from __future__ import annotations

from dataclasses import dataclass

BACKOFF_FIRST_MS = 1_000
BACKOFF_MAX_MS = 300_000


@dataclass(frozen=True, slots=True)
class Staff:
    """What the decision rests on.

    `idle` counts pilots that wait or run and hold no shard; `busy` those that hold one;
    `barren_starts` counts starts since the offered shards last changed in any way.
    """

    claimable: int
    busy: int
    idle: int
    pilots_max: int
    barren_starts: int = 0
    since_start_ms: int = BACKOFF_MAX_MS


def plan_starts(staff: Staff) -> int:
    """Return how many pilots to start: one per shard that no idle pilot will take, within limits.

    Pilots that end without having touched a shard are not started again and again: each further
    round waits twice as long.
    """
    wanted = min(staff.claimable - staff.idle, staff.pilots_max - staff.busy - staff.idle)
    if wanted <= 0:
        return 0
    rounds = staff.barren_starts // max(1, staff.pilots_max)
    if rounds:
        wait_ms = min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS << min(rounds - 1, 30))
        if 0 <= staff.since_start_ms < wait_ms:
            return 0
    return wanted
