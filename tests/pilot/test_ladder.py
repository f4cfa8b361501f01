"""The ladder at the end of an allocation: which rung when, and how signals move it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pilot.core.ladder import NEAR_S, NEVER_S, NOTICE_S, NOTICE_STOP_S, Ladder, Rung, Times, planned

TIMES = Times(last_starts_s=600, checkpoint_s=180, stop_s=60)
SECONDS = st.floats(0, 100_000)


def test_each_rung_comes_at_its_time_before_the_end() -> None:
    ladder = Ladder(TIMES, end_s=1000)
    seen = [ladder.rung(now_s) for now_s in (0, 399, 400, 819, 820, 939, 940, 1000, 2000)]
    assert seen == [
        *[Rung.WORK] * 2,
        *[Rung.LAST_STARTS] * 2,
        *[Rung.CHECKPOINT] * 2,
        *[Rung.STOP] * 3,
    ]


def test_without_an_end_nothing_ever_changes() -> None:
    ladder = planned(TIMES, 0, 5_000_000, 7.0)
    assert ladder.rung(10**9) is Rung.WORK and ladder.next_s(0) == NEVER_S
    assert ladder.stop_at_us(0, 5) == 0


@given(SECONDS, st.tuples(SECONDS, SECONDS, SECONDS), st.floats(0, 200_000))
def test_rungs_only_rise_and_next_s_misses_none(
    end_s: float, times: tuple[float, float, float], now_s: float
) -> None:
    ladder = Ladder(Times(*times), end_s)
    coming_s = ladder.next_s(now_s)
    assert coming_s > now_s
    if coming_s < NEVER_S:
        just_before = ladder.rung(now_s + (coming_s - now_s) / 2)
        assert just_before is ladder.rung(now_s) or coming_s - now_s < 1e-6
        assert ladder.rung(coming_s + 1e-6) >= ladder.rung(now_s)
    else:
        assert ladder.rung(now_s + 1e7) is ladder.rung(now_s)


@given(SECONDS, SECONDS, st.booleans())
def test_a_signal_never_moves_the_end_away(
    end_s: float, now_s: float, any_checkpoints: bool
) -> None:
    told = Ladder(TIMES, end_s).told(now_s, any_checkpoints=any_checkpoints)
    assert told.end_s <= end_s and told.rung(now_s) >= Rung.CHECKPOINT
    assert told.end_s <= now_s + NOTICE_S
    again = told.told(now_s, any_checkpoints=any_checkpoints)
    assert again.end_s <= told.end_s and again.rung(now_s) is Rung.STOP


def test_a_signal_leaves_time_for_checkpoints_only_where_there_are_any() -> None:
    ladder = Ladder(TIMES)
    assert ladder.told(100, any_checkpoints=False).rung(100) is Rung.STOP
    waiting = ladder.told(100, any_checkpoints=True)
    assert waiting.rung(100) is Rung.CHECKPOINT
    assert waiting.rung(100 + NOTICE_S - NOTICE_STOP_S) is Rung.STOP


def test_a_step_of_the_wall_clock_moves_nothing() -> None:
    ladder = planned(TIMES, 1_000_000_000, 0, 50.0)
    assert ladder.end_s == 1050.0
    before, after = ladder.stop_at_us(60, 10_000_000), ladder.stop_at_us(60, 77_000_000)
    assert before == 940_000_000 and after - before == 67_000_000


def test_a_signal_shortly_before_the_planned_end_is_that_end() -> None:
    assert Ladder(TIMES, end_s=1000).is_end(1000 - NEAR_S)
    assert not Ladder(TIMES, end_s=1000).is_end(999 - NEAR_S)
    assert not Ladder(TIMES).is_end(1e9)
