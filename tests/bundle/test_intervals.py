"""Interval sets behave as the sets of numbers that they stand for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bundle.intervals import IntervalSet

NUMBERS = st.sets(st.integers(0, 60))


@given(NUMBERS)
def test_a_set_holds_exactly_its_numbers(numbers: set[int]) -> None:
    held = IntervalSet.of(numbers)
    assert list(held) == sorted(numbers)
    assert len(held) == len(numbers)
    assert all((number in held) == (number in numbers) for number in range(62))


@given(NUMBERS, NUMBERS)
def test_union_difference_and_intersection(one: set[int], two: set[int]) -> None:
    left, right = IntervalSet.of(one), IntervalSet.of(two)
    assert left | right == IntervalSet.of(one | two)
    assert left - right == IntervalSet.of(one - two)
    assert left & right == IntervalSet.of(one & two)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60))))
def test_spans_in_any_order_and_overlap_give_one_form(spans: list[tuple[int, int]]) -> None:
    held = IntervalSet.spanning(spans)
    assert held == IntervalSet.of(number for span in spans for number in range(*span))
    assert all(first < past for first, past in held.spans)
    assert all(one[1] < two[0] for one, two in zip(held.spans, held.spans[1:], strict=False))


@given(NUMBERS)
def test_the_wire_form_is_read_back(numbers: set[int]) -> None:
    held = IntervalSet.of(numbers)
    assert IntervalSet.from_wire(held.to_wire()) == held


@given(NUMBERS, st.integers(0, 70))
def test_take_gives_the_smallest(numbers: set[int], count: int) -> None:
    assert list(IntervalSet.of(numbers).take(count)) == sorted(numbers)[:count]


@given(NUMBERS, st.integers(0, 70), st.integers(0, 70))
def test_within_gives_those_between_two_bounds(numbers: set[int], first: int, past: int) -> None:
    held = IntervalSet.of(numbers).within(first, past)
    assert held == IntervalSet.of(one for one in numbers if first <= one < past)


@given(NUMBERS)
def test_gaps_are_the_missing_numbers_below_the_largest(numbers: set[int]) -> None:
    missing = set(range(max(numbers, default=0))) - numbers
    assert IntervalSet.of(numbers).gaps() == IntervalSet.of(missing)


def test_huge_spans_cost_nothing() -> None:
    held = IntervalSet(((0, 2**60), (2**61, 2**62)))
    assert len(held - IntervalSet(((5, 2**61 + 1),))) == 5 + 2**61 - 1
    assert 2**62 - 1 in held
    assert list(held.take(3)) == [0, 1, 2]
