"""How many pilots to start now."""

from __future__ import annotations

from dataclasses import dataclass

BACKOFF_FIRST_MS = 1_000
BACKOFF_MAX_MS = 300_000
JOBS_MAX = 1000  # of one submission


@dataclass(frozen=True, slots=True)
class Staff:
    """What the decision rests on.

    `idle` counts pilots that wait or run and hold no shard; `busy` those that hold one;
    `pilots_each`: pilots that one batch job starts. `is_proven`: a pilot has taken a shard here
    before; until then a single batch job goes ahead, and the rest follow once it has.
    `barren_starts` counts starts since the offered shards last changed in any way.
    """

    claimable: int
    busy: int
    idle: int
    pilots_max: int
    pilots_each: int = 1
    is_proven: bool = True
    barren_starts: int = 0
    since_start_ms: int = BACKOFF_MAX_MS


def plan_starts(staff: Staff) -> int:
    """Return how many batch jobs to start: a pilot per shard that no idle one will take.

    Pilots that end without having touched a shard are not started again and again: each further
    round waits twice as long.
    """
    alive = staff.busy + staff.idle
    lacking = -(
        -(staff.claimable - staff.idle) // staff.pilots_each
    )  # the last one may be half idle
    wanted = min(lacking, (staff.pilots_max - alive) // staff.pilots_each, JOBS_MAX)
    if wanted <= 0:
        return 0
    if not staff.is_proven:
        wanted = 0 if alive else 1
    rounds = staff.barren_starts // max(1, staff.pilots_max)
    if rounds:
        wait_ms = min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS << min(rounds - 1, 30))
        if 0 <= staff.since_start_ms < wait_ms:
            return 0
    return wanted
