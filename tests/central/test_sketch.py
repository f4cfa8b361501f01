"""Sketches add up in any order; what is read off bounds the truth, closely, and says how surely."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import canonical
from bundle.shape import WrongShape
from central.core import learned, sketch
from central.core.learned import Learned

AMOUNTS = st.lists(st.integers(0, 2**45) | st.integers(0, 300), max_size=60)


@given(AMOUNTS, AMOUNTS, AMOUNTS, st.randoms(use_true_random=False))
def test_any_order_and_any_grouping_give_the_same_sketch(
    a: list[int], b: list[int], c: list[int], draws: random.Random
) -> None:
    together = [*a, *b, *c]
    draws.shuffle(together)
    whole = sketch.of(together)
    one, two, three = map(sketch.of, (a, b, c))
    assert (one + two) + three == one + (two + three) == three + two + one == whole
    assert sketch.encode([(one + two) + three]) == sketch.encode([whole])
    raw = sketch.encode([whole, one])
    assert list(sketch.decode(raw, "x")) == [whole, one]
    assert raw == canonical.encode([sketch.to_wire(whole), sketch.to_wire(one)])
    assert whole.count == len(together)


@given(AMOUNTS)
def test_an_array_gives_what_a_list_gives(amounts: list[int]) -> None:
    assert sketch.of_array(np.array(amounts, dtype=np.int64)) == sketch.of(amounts)


@given(st.lists(st.integers(0, 2**44), min_size=1, max_size=60), st.data())
def test_what_stands_at_a_rank_is_not_below_the_truth_and_at_most_a_64th_above(
    amounts: list[int], data: st.DataObject
) -> None:
    rank = data.draw(st.integers(1, len(amounts)))
    truth = sorted(amounts)[rank - 1]
    found = sketch.at_rank(sketch.of(amounts), rank)
    assert truth <= found <= truth + truth // 64


@given(st.integers(0, 2**44))
def test_buckets_are_contiguous_and_rise(amount: int) -> None:
    number = sketch.bucket(amount)
    edge = sketch.upper_edge(number)
    assert sketch.bucket(edge) == number and amount <= edge
    assert edge == 2**44 or sketch.bucket(edge + 1) in (number + 1, number)


@given(st.integers(1, 400), st.sampled_from([500, 900, 990, 999]), st.sampled_from([500, 950, 999]))
def test_the_rank_is_the_smallest_that_holds_with_the_confidence(
    count: int, quantile: int, confidence: int
) -> None:
    q, doubt = Fraction(quantile, 1000), 1 - Fraction(confidence, 1000)

    def at_least(rank: int) -> Fraction:
        return sum(
            (math.comb(count, k) * q**k * (1 - q) ** (count - k) for k in range(rank, count + 1)),
            start=Fraction(0),
        )

    rank = sketch.rank_of_bound(count, quantile / 1000, confidence / 1000)
    if rank is None:
        assert at_least(count) > doubt
    else:
        # Within what floating point leaves undecided: at an exact tie one rank more is taken.
        assert at_least(rank) <= doubt * (1 + Fraction(1, 10**9))
        assert rank == 1 or at_least(rank - 1) > doubt * (1 - Fraction(1, 10**9))


def test_too_few_say_nothing_and_from_how_many_on_is_told() -> None:
    assert sketch.needed(0.99, 0.95) == 299
    assert sketch.suggest(sketch.of(range(298)), 0.99, 0.95) is None
    assert sketch.suggest(sketch.of(range(299)), 0.99, 0.95) == sketch.upper_edge(
        sketch.bucket(298)
    )


def test_the_far_rank_joins_the_exact_one() -> None:
    near = sketch.rank_of_bound(sketch.EXACT_MAX, 0.99, 0.95)
    far = sketch.rank_of_bound(sketch.EXACT_MAX + 1, 0.99, 0.95)
    assert near is not None and far is not None and 0 <= far - near <= 4


def test_the_bound_holds_as_often_as_it_says() -> None:
    draws = random.Random(7)
    truth = math.exp(2.3263 * 0.8)  # the 0.99 quantile of the distribution below
    held = 0
    for _ in range(400):
        amounts = [round(1000 * draws.lognormvariate(0, 0.8)) for _ in range(400)]
        bound = sketch.suggest(sketch.of(amounts), 0.99, 0.95)
        held += bound is not None and bound >= 1000 * truth
    assert held >= 0.93 * 400


@pytest.mark.parametrize("flat", [(1,), (1, 0), (1, 1, 0, 1)])
def test_a_sketch_that_no_writer_makes_is_refused(flat: tuple[int, ...]) -> None:
    with pytest.raises(WrongShape):
        sketch.from_wire(flat, "x")


@given(
    st.lists(st.tuples(*[st.integers(0, 2**40)] * 4), min_size=1, max_size=30), st.integers(0, 9)
)
def test_columns_of_segments_teach_what_their_rows_teach(
    rows: list[tuple[int, ...]], cut: int
) -> None:
    parts = [part for part in (rows[:cut], rows[cut:]) if part]
    whole = Learned()
    for part in parts:
        whole += learned.of_columns(*(np.array(column) for column in zip(*part, strict=True)))
    assert whole == Learned(*map(sketch.of, zip(*rows, strict=True)))
    assert learned.decode(learned.encode(whole)) == whole
