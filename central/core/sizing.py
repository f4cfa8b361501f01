"""Sizing: how much work a site should hold, and for how long it is promised.

A site that can't ask often must hold more. What is held covers the time until an answer to its next
report can be there, and a little more, so that no node idles; what was too much returns untouched.
Nothing is concluded from few observations: then what is configured holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ENOUGH = 5  # observations of trips before anything is concluded from them
KEPT = 64  # observations of a site that are kept
QUANTILE = 0.95


@dataclass(frozen=True, slots=True)
class Policy:
    """What is configured. `filler`: how much more than fits, as a share of what fits."""

    lease_ms: int
    lease_ms_min: int = 3_600_000
    lease_ms_max: int = 90 * 86_400_000
    horizon_ms_min: int = 3_600_000
    filler: float = 0.25


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a site, newest last, milliseconds.

    `trips`: from packing until the site's word that the bundle came was here. `turnarounds`: until
    nothing of it was open any more.
    """

    trips: tuple[int, ...] = ()
    turnarounds: tuple[int, ...] = ()

    def with_trip(self, trip_ms: int) -> Seen:
        """Return it with one more trip."""
        return Seen((*self.trips, trip_ms)[-KEPT:], self.turnarounds)

    def with_turnaround(self, took_ms: int) -> Seen:
        """Return it with one more turnaround."""
        return Seen(self.trips, (*self.turnarounds, took_ms)[-KEPT:])


def quantile(values: Sequence[int], q: float = QUANTILE) -> int:
    """Return the smallest value that at least the share `q` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def trip_ms(seen: Seen, told_ms: int) -> int:
    """Return how long bundle and answer take, p95; what the site told until enough was seen."""
    return quantile(seen.trips) if len(seen.trips) >= ENOUGH else told_ms


def horizon_ms(seen: Seen, told_ms: int, queue_wait_ms: int, policy: Policy) -> int:
    """Return for how long a site should have work: one trip and one wait in the queue."""
    return max(policy.horizon_ms_min, trip_ms(seen, told_ms) + queue_wait_ms)


def hold_cost(cores: float, horizon: int, policy: Policy) -> tuple[float, float]:
    """Return core-milliseconds that keep so many cores busy, and the same with fillers."""
    fits = cores * horizon
    return fits, fits * (1.0 + policy.filler)


def lease_ms(seen: Seen, told_ms: int, queue_wait_ms: int, walltime_ms: int, policy: Policy) -> int:
    """Return for how long tasks are promised.

    Central counts from packing, so the way there is in it. With few observations it is what is
    configured, or three trips of a site that told how long they take, whichever is longer.
    """
    trip = trip_ms(seen, told_ms)
    if len(seen.turnarounds) >= ENOUGH:
        learned = quantile(seen.turnarounds) * 3 // 2 + trip
    else:
        learned = max(policy.lease_ms, 3 * trip)
    needed = trip + queue_wait_ms + walltime_ms
    return min(max(learned, needed, policy.lease_ms_min), policy.lease_ms_max)


def filler_ms(seen: Seen, told_ms: int, lease: int, horizon: int) -> int:
    """Return for how long fillers are promised: until there could be other work, no longer."""
    return min(lease, trip_ms(seen, told_ms) + horizon)
