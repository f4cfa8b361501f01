"""Staffing, shards and grouping: decisions from frozen values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bundle.ids import BundleId, DatasetId, LeaseId, PilotRun
from bundle.spool.layout import SealName, ShardName
from relay.core.grouping import SealSize, group_seals, plan_preface
from relay.core.shards import (
    Ended,
    ShardPlan,
    is_over,
    next_turn,
    plan_offers,
    plan_withdrawals,
    tasks_open,
    turns_used,
)
from relay.core.staffing import Staff, plan_starts

DATASET = DatasetId("a" * 26)


def lease(number: int) -> LeaseId:
    return LeaseId(bytes([number]) * 16)


def plan(number: int, needs: tuple[int, ...] = (), start_before_us: int = 0) -> ShardPlan:
    return ShardPlan(lease(number), number, DATASET, needs, 10, start_before_us)


def first(number: int) -> ShardName:
    return ShardName(lease(number), 1)


@given(*(st.integers(0, 50) for _ in range(4)))
def test_never_more_pilots_than_the_limit_or_than_shards(
    claimable: int, busy: int, idle: int, pilots_max: int
) -> None:
    starts = plan_starts(Staff(claimable, busy, idle, pilots_max))
    assert 0 <= starts <= max(0, claimable - idle)
    assert busy + idle + starts <= max(pilots_max, busy + idle)


@given(*(st.integers(0, 50) for _ in range(4)), st.integers(1, 8))
def test_batch_jobs_of_several_nodes_stay_within_the_limit_too(
    claimable: int, busy: int, idle: int, pilots_max: int, each: int
) -> None:
    jobs = plan_starts(Staff(claimable, busy, idle, pilots_max, each))
    assert 0 <= jobs * each < max(0, claimable - idle) + each
    assert busy + idle + jobs * each <= max(pilots_max, busy + idle)
    assert jobs or claimable <= idle or pilots_max < busy + idle + each


def test_at_a_site_where_none_ever_took_a_shard_one_batch_job_goes_ahead() -> None:
    assert plan_starts(Staff(50, 0, 0, 20, 4, is_proven=False)) == 1
    assert plan_starts(Staff(50, 0, 4, 20, 4, is_proven=False)) == 0
    assert plan_starts(Staff(50, 4, 0, 20, 4)) == 4


def test_pilots_that_touch_nothing_are_started_ever_more_rarely() -> None:
    staff = [Staff(5, 0, 0, 2, barren_starts=n, since_start_ms=3000) for n in (0, 2, 4, 6, 60)]
    assert [plan_starts(one) for one in staff] == [2, 2, 2, 0, 0]
    assert plan_starts(Staff(5, 0, 0, 2, barren_starts=600, since_start_ms=300_000)) == 2


def test_a_clock_set_back_does_not_stop_staffing() -> None:
    assert plan_starts(Staff(5, 0, 0, 2, barren_starts=60, since_start_ms=-1)) == 2


def test_a_shard_waits_for_complete_seals_of_all_it_needs() -> None:
    plans = (plan(0), plan(1), plan(2, needs=(0, 1)))
    waiting = {first(0), first(1), first(2)}
    assert plan_offers(plans, waiting, Ended()) == (first(0), first(1))
    one = Ended(complete=frozenset({lease(0)}), up=frozenset({lease(1)}))
    assert plan_offers(plans, {first(2)}, one) == ()  # given up is not complete
    both = Ended(complete=frozenset({lease(0), lease(1)}))
    assert plan_offers(plans, {first(2)}, both) == (first(2),)


def test_the_next_turn_is_offered_unless_a_later_one_is_known() -> None:
    assert next_turn(first(0), {first(0), first(1)}) == ShardName(lease(0), 2)
    assert next_turn(first(0), {ShardName(lease(0), 2)}) is None


def test_all_turns_of_one_pilot_count_as_one() -> None:
    def seal(turn: int, pilot: int, of: int = 0) -> SealName:
        return SealName(ShardName(lease(of), turn), PilotRun(bytes([pilot]) * 8))

    seals = [seal(1, 1), seal(2, 1), seal(4, 2), seal(5, 2), seal(6, 2), seal(7, 2, of=1)]
    assert turns_used(ShardName(lease(0), 6), [*seals, seal(1, 1)]) == 3  # turn 3 left no seal


def test_late_deleted_and_hopeless_shards_are_withdrawn() -> None:
    plans = (plan(0, start_before_us=5), plan(1, needs=(0,)), plan(2))
    idle = {first(0), first(1), first(2)}
    assert plan_withdrawals(plans, idle, Ended(), 4, frozenset()) == ()
    assert plan_withdrawals(plans, idle, Ended(), 5, frozenset()) == (first(0),)
    up = Ended(up=frozenset({lease(0)}))
    assert plan_withdrawals(plans, {first(1), first(2)}, up, 4, frozenset()) == (first(1),)
    assert len(plan_withdrawals(plans, idle, Ended(), 4, frozenset({DATASET}))) == 3


def test_a_work_bundle_is_over_when_each_shard_is_complete_or_given_up() -> None:
    plans = (plan(0), plan(1))
    half = Ended(complete=frozenset({lease(0)}))
    assert not is_over(plans, half)
    assert tasks_open([(plans, half), (plans, Ended())]) == 30
    assert is_over(plans, Ended(frozenset({lease(0)}), frozenset({lease(1)})))


sizes = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 600), st.integers(1, 20)), max_size=40
)


@given(sizes)
def test_groups_hold_every_seal_once_in_order_and_keep_the_limits(
    drawn: list[tuple[int, int, int]],
) -> None:
    seals = [
        SealSize(f"{n}", BundleId("a" * 64), lease(0), attempts, size, chunks)
        for n, (attempts, size, chunks) in enumerate(drawn)
    ]
    groups = group_seals(seals, 100, bytes_max=1000, chunks_max=50)
    assert [seal for group in groups for seal in group] == seals
    for group in groups:
        assert group
        assert sum(seal.attempts for seal in group) <= 100
        assert len(group) == 1 or sum(seal.bytes for seal in group) <= 1000
        assert len(group) == 1 or sum(seal.chunks for seal in group) <= 50


@given(st.lists(st.binary(min_size=1, max_size=1)), st.frozensets(st.binary(max_size=1)))
def test_what_a_bundle_needs_is_introduced_or_referred_to_once(
    needed: list[bytes], told: frozenset[bytes]
) -> None:
    preface = plan_preface(needed, told)
    assert sorted((*preface.introduces, *preface.refers)) == sorted(set(needed))
    assert told.issuperset(preface.refers)
    assert told.isdisjoint(preface.introduces)
