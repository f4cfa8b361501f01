"""Who gets how much of a bundle: limits hold, nobody starves, shares are the configured ones."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.core import order, shares
from central.core.order import Candidate, Room, Usage
from central.core.shares import Decayed, Weights
from tests.planner.saturated import World, mixed, worst


@st.composite
def crowds(draw: st.DrawFn) -> list[Candidate]:
    return [
        Candidate(
            no,
            draw(st.sampled_from(["g", "h"])),
            draw(st.sampled_from(["alice", "bob", "eve"])),
            draw(st.sampled_from([0.5, 1.0, 4.0])),
            draw(st.floats(0, 1e9)),
            draw(st.integers(1, 5000)),
            (cost := draw(st.sampled_from([0.0, 1.0, 1e6]))),
            draw(st.integers(1, 30)),
            task_seen=draw(st.sampled_from([0.0, cost])),
            task_most=draw(st.sampled_from([0.0, cost, 2 * cost])),
        )
        for no in range(draw(st.integers(0, 12)))
    ]


rooms = st.builds(
    Room,
    st.integers(0, 3000),
    st.sampled_from([order.INFINITE, 5.0, 1e7]),
    st.sampled_from([order.INFINITE, 0.0, 7.0, 1e8]),
    st.sampled_from([2**62, 0, 1, 40, 2000]),
    st.integers(1, 500),
    st.integers(1, 6),
)
quotas = st.dictionaries(
    st.sampled_from(["user:alice", "user:bob", "group:g"]), st.integers(0, 900), max_size=3
)


def used(crowd: list[Candidate]) -> Usage:
    return Usage(Weights(), ((one.group, one.user, one.usage) for one in crowd))


@given(crowds(), rooms, quotas)
def test_no_limit_is_ever_exceeded(
    crowd: list[Candidate], room: Room, quota: dict[str, int]
) -> None:
    taken = order.allot(crowd, used(crowd), room, quota)
    of = {one.no: one for one in crowd}
    assert all(0 < tasks <= of[no].tasks for no, tasks in taken.items())
    assert len(taken) <= room.datasets_max
    tasks = sum(taken.values())
    unit = max((one.unit for one in crowd), default=0)
    assert tasks <= min(room.tasks_hard, room.tasks + unit)
    assert sum(of[no].task_most * many for no, many in taken.items()) <= room.most
    for key, most in quota.items():
        assert most >= sum(
            many for no, many in taken.items() if key in order.quota_keys(of[no].user, of[no].group)
        )


@given(crowds(), rooms, quotas, st.randoms())
def test_the_same_facts_give_the_same_plan_in_whatever_order_they_come(
    crowd: list[Candidate], room: Room, quota: dict[str, int], chance: random.Random
) -> None:
    # A sum of floats depends on its order in the last digit, so usage is whole here.
    whole = [one.__class__(*(*_head(one), float(int(one.usage)), *_tail(one))) for one in crowd]
    mixed_up = list(whole)
    chance.shuffle(mixed_up)
    assert order.allot(whole, used(whole), room, quota) == order.allot(
        mixed_up, used(whole), room, quota
    )


def _head(one: Candidate) -> tuple[object, ...]:
    return one.no, one.group, one.user, one.weight


def _tail(one: Candidate) -> tuple[object, ...]:
    return (
        one.tasks, one.task_cost, one.unit, one.submitted_us, one.task_seen, one.task_most,
    )  # fmt: skip


@given(crowds(), st.integers(1, 500))
def test_while_there_is_room_and_work_a_bundle_is_filled(
    crowd: list[Candidate], tasks: int
) -> None:
    taken = order.allot(crowd, used(crowd), Room(tasks, datasets_max=len(crowd) or 1))
    assert sum(taken.values()) >= min(tasks, sum(one.tasks for one in crowd))


@given(crowds())
def test_a_ranking_names_everybody_once_and_the_first_of_it_is_served_first(
    crowd: list[Candidate],
) -> None:
    ranking = order.ranking(crowd, used(crowd))
    assert sorted(ranking) == [one.no for one in crowd]
    taken = order.allot(crowd, used(crowd), Room(1, datasets_max=1))
    assert list(taken) == ranking[:1]


@given(st.floats(0, 1e12), st.integers(0, 10**15), st.integers(0, 10**15))
def test_what_was_delivered_halves_with_each_half_life(amount: float, at: int, later: int) -> None:
    half = 10**12
    one = Decayed(amount, at)
    assert shares.now(one, at + half, half) == pytest.approx(amount / 2)
    assert shares.now(one, at - later, half) == amount  # a clock that went back decays nothing
    both = shares.add(one, 5.0, at + later, half)
    assert both.amount == pytest.approx(shares.now(one, at + later, half) + 5.0)


@given(st.integers(-100, 90), st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_nearer_deadline_and_a_higher_priority_weigh_more(
    priority: int, deadline: int, now: int
) -> None:
    weigh = shares.weight
    assert weigh(priority + 10, 0, now, 10**6) == pytest.approx(2 * weigh(priority, 0, now, 10**6))
    none, some = weigh(priority, 0, now, 10**6), weigh(priority, deadline + 1, now, 10**6)
    assert none <= some <= none * shares.URGENCY_MAX
    assert weigh(priority, deadline + 1, now + 5, 10**6) >= some


@given(st.integers(1, 10**9), st.integers(0, 10**9), st.integers(1, 10**9))
def test_age_adds_weight_where_that_is_configured_and_never_without_end(
    submitted: int, passed: int, doubles: int
) -> None:
    factor = shares.aged(submitted, submitted + passed, doubles)
    assert 1.0 <= factor <= 2**shares.AGE_DOUBLINGS_MAX
    assert shares.aged(submitted, submitted + passed + 1, doubles) >= factor
    assert shares.aged(submitted, submitted + doubles, doubles) == 2.0
    assert shares.aged(submitted, submitted + passed, 0) == 1.0


def test_shares_are_the_configured_ones_after_five_half_lives() -> None:
    weights, clients = mixed(datasets=60, users=12, groups=3, seed=3)
    world = World(weights, clients, sites=4, cores=1500)
    world.run(5 * 24 + 5)
    assert all(one.first_us for one in clients)  # nobody starves
    assert worst(world, 1) < 0.10
    assert worst(world, 2) < 0.10
    assert worst(world, 3) < 0.10


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_datasets_of_a_hundred_users_get_their_shares(seed: int) -> None:
    weights, clients = mixed(datasets=1000, users=100, groups=5, seed=seed)
    world = World(weights, clients, sites=50, cores=2000)
    world.run(5 * 24 + 5)
    assert all(one.first_us for one in clients)
    assert max(worst(world, depth) for depth in (1, 2, 3)) < 0.10


def test_who_comes_late_is_served_at_once_and_who_was_served_much_waits() -> None:
    weights, clients = mixed(datasets=20, users=4, groups=1, seed=5)
    late = clients.pop()
    world = World(weights, clients, sites=2, cores=500)
    world.run(48)
    clients.append(late)
    world.run(1)
    assert late.first_us == world.now_us - 3_600_000_000
