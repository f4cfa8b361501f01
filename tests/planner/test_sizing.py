"""How much a site holds and for how long: learned from trips, bounded by what is configured."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from central.core import sizing
from central.core.sizing import ENOUGH, KEPT, Policy, Seen

HOUR = 3_600_000
DAY = 24 * HOUR
POLICY = Policy(lease_ms=48 * HOUR)
times = st.lists(st.integers(0, 60 * DAY), max_size=20).map(tuple)


@given(st.lists(st.integers(0, 1000), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_one_of_the_values_that_so_many_do_not_exceed(
    values: list[int], q: float
) -> None:
    found = sizing.quantile(values, q)
    assert found in values
    assert sum(one <= found for one in values) >= q * len(values) - 1e-9
    assert sum(one < found for one in values) < q * len(values)


@given(times, times, st.integers(0, 60 * DAY), st.integers(0, DAY), st.integers(0, DAY))
def test_a_lease_is_within_its_bounds_and_outlasts_the_trip(
    trips: tuple[int, ...], turns: tuple[int, ...], told: int, queue: int, walltime: int
) -> None:
    seen = Seen(trips, turns)
    lease = sizing.lease_ms(seen, told, queue, walltime, POLICY)
    assert POLICY.lease_ms_min <= lease <= POLICY.lease_ms_max
    needed = sizing.trip_ms(seen, told) + queue + walltime
    assert lease >= min(needed, POLICY.lease_ms_max)
    horizon = sizing.horizon_ms(seen, told, queue, POLICY)
    assert sizing.filler_ms(seen, told, lease, horizon) <= lease


def test_nothing_is_concluded_from_few_observations() -> None:
    few = Seen((5,) * (ENOUGH - 1), (5,) * (ENOUGH - 1))
    assert sizing.lease_ms(few, 0, 0, 0, POLICY) == 48 * HOUR
    assert sizing.trip_ms(few, 7 * DAY) == 7 * DAY
    quick = Seen((5,) * ENOUGH, (10,) * ENOUGH)
    assert sizing.lease_ms(quick, 7 * DAY, 0, 0, POLICY) == POLICY.lease_ms_min
    slow = Seen((9 * DAY,) * ENOUGH, (20 * DAY,) * ENOUGH)
    assert sizing.lease_ms(slow, 0, 0, 0, POLICY) == 39 * DAY


def test_a_courier_that_comes_each_week_has_the_site_hold_a_weeks_work_and_a_little_more() -> None:
    weekly = Seen((7 * DAY,) * ENOUGH)
    horizon = sizing.horizon_ms(weekly, 0, 2 * HOUR, POLICY)
    assert horizon == 7 * DAY + 2 * HOUR
    fits, whole = sizing.hold_cost(100.0, horizon, POLICY)
    assert fits == 100 * horizon
    assert whole == 1.25 * fits


@given(st.lists(st.integers(0, 10**9), max_size=200))
def test_only_the_newest_observations_are_kept(took: list[int]) -> None:
    seen = Seen()
    for one in took:
        seen = seen.with_trip(one).with_turnaround(one + 1)
    assert seen.trips == tuple(took[-KEPT:])
    assert len(seen.turnarounds) == len(seen.trips)
