"""Trouble on the way is remembered, and waits grow, spread and end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.core.backoff import ASKED_S_MAX, Pace, Trouble, after_failure, waits_s

PACE = Pace(10, 900)
NOW_US = 1_700_000_000_000_000
chances = st.floats(0, 1, exclude_max=True)


def fail(old: Trouble | None, chance: float = 0.5, **more: float) -> Trouble:
    now_us = old.until_us if old else NOW_US
    return after_failure(old, now_us, chance, PACE, "x", "text", **more)  # type: ignore[arg-type]


def test_after_one_failure_the_next_tick_tries_again() -> None:
    assert waits_s(None, NOW_US) == 0
    assert waits_s(fail(None), NOW_US) == 0


def test_waits_double_up_to_the_longest() -> None:
    one, waits = fail(None), []
    for _ in range(12):
        one = fail(one)
        waits.append(waits_s(one, one.at_us))
    assert waits == [10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900, 900]
    assert (one.failures, one.since_us) == (13, NOW_US)


@given(st.lists(chances, min_size=2, max_size=40))
def test_waits_are_spread_and_bounded(given_chances: list[float]) -> None:
    one = fail(None)
    for chance in given_chances:
        one = fail(one, chance)
        middle_s = min(900, 10 * 2 ** (one.failures - 2))
        wait_s = waits_s(one, one.at_us)
        assert middle_s / 2 - 1e-5 <= wait_s <= middle_s * 1.5


@given(chances, st.floats(0, 1e9))
def test_a_wait_that_central_asks_for_is_kept_within_reason(chance: float, asked: float) -> None:
    wait_s = waits_s(fail(None, chance, asked_s=asked), NOW_US)
    assert min(asked, ASKED_S_MAX) - 1e-5 <= wait_s <= ASKED_S_MAX * 1.5


def test_a_clock_that_was_set_back_postpones_nothing() -> None:
    one = fail(fail(fail(None)))
    assert waits_s(one, one.at_us) > 0
    assert waits_s(one, one.at_us - 1) == 0
    assert waits_s(one, one.until_us) == 0


def test_where_looking_costs_nobody_anything_every_tick_looks() -> None:
    one = fail(fail(fail(None)), at_once=True)
    assert (waits_s(one, one.at_us), one.failures) == (0, 3)
