"""A typed column gives back the numbers it was made of, and nothing for anything else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import canonical, shape
from bundle.records import columns

MAX = 2**63 - 1
COUNTS = st.lists(st.one_of(st.integers(0, 300), st.integers(0, MAX), st.sampled_from((0, MAX))))
SIGNED = st.lists(
    st.one_of(st.integers(-300, 300), st.integers(-MAX - 1, MAX), st.sampled_from((-MAX - 1, MAX)))
)


def reader(column: Any) -> shape.Reader:
    return shape.Reader({"n": column}, "columns")


@given(COUNTS)
def test_counts_come_back_plain_and_as_differences(values: list[int]) -> None:
    plain, steps = columns.pack(values, "n"), columns.pack_differences(values, "n")
    assert list(columns.numbers(reader(plain), "n", len(values))) == values
    assert list(columns.differences(reader(steps), "n", len(values))) == values


@given(SIGNED)
def test_signed_numbers_come_back(values: list[int]) -> None:
    packed = columns.pack(values, "n", low=columns.SIGNED_MIN)
    found = columns.numbers(reader(packed), "n", len(values), low=columns.SIGNED_MIN)
    assert list(found) == values


@given(COUNTS)
def test_a_column_of_equal_numbers_has_no_planes_and_others_have_no_empty_one(
    values: list[int],
) -> None:
    _, planes = columns.pack(values, "n")
    assert (planes == b"") == (len(set(values)) <= 1)
    assert planes == b"" or any(planes[-len(values) :])


def test_the_bytes_are_those_of_the_document() -> None:
    assert columns.pack([600, 601, 900, 600], "n") == [600, bytes.fromhex("00012C0000000100")]
    assert columns.pack_differences([7, 8, 6, 300], "n") == [7, bytes.fromhex("0002034C00000002")]
    assert columns.pack([], "n") == columns.pack_differences([], "n") == [0, b""]
    assert columns.pack_differences([5, 5], "n", width_min=1) == [5, b"\0\0"]


@pytest.mark.parametrize("values", [[-1], [MAX + 1], [0, 2**64]])
def test_what_is_no_count_is_not_packed(values: list[int]) -> None:
    for pack in (columns.pack, columns.pack_differences):
        with pytest.raises(canonical.NotEncodable, match="wall_ms"):
            pack(values, "wall_ms")


HOSTILE = {
    "nothing": None,
    "a map": {"0": 1},
    "base alone": [1],
    "three": [1, b"\0\1\2", 0],
    "no base": [None, b"\0\1\2"],
    "a text as base": ["1", b"\0\1\2"],
    "true as base": [True, b"\0\1\2"],
    "a float as base": [1.0, b"\0\1\2"],
    "numbers for planes": [1, [0, 1, 2]],
    "a plane too short": [1, b"\0\1"],
    "a plane too long": [1, b"\0\1\2\3"],
    "nine planes": [0, bytes(27)],
    "a base below 0": [-1, b"\0\1\2"],
    "a base above the range": [MAX + 1, b""],
    "beyond the range by base": [MAX, b"\0\0\1"],
    "beyond the range by planes": [0, b"\0\0\xff" * 8],
}


@pytest.mark.parametrize("read", [columns.numbers, columns.differences])
@pytest.mark.parametrize("column", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_column_is_refused_by_name(column: Any, read: Any) -> None:
    if read is columns.differences and column == [MAX, b"\0\0\1"]:
        column = [MAX, b"\0\0\2"]  # a step of 1
    with pytest.raises(shape.WrongShape, match=r"columns\.n"):
        read(reader(column), "n", 3)


def test_a_column_of_no_numbers_holds_nothing() -> None:
    for column in ([1, b""], [0, b"\0"]):
        with pytest.raises(shape.WrongShape, match=r"columns\.n"):
            columns.numbers(reader(column), "n", 0)


def test_differences_may_not_leave_the_range_on_the_way() -> None:
    with pytest.raises(shape.WrongShape, match="-1 to"):
        columns.differences(reader([1, b"\0\3\4"]), "n", 3)  # 1, -1, 1
    with pytest.raises(shape.WrongShape, match="0 to 9"):
        columns.differences(reader([9, b"\0\2\1"]), "n", 3, high=9)


def test_planes_that_must_be_there_are_missed() -> None:
    with pytest.raises(shape.WrongShape, match="1 to 8 planes"):
        columns.differences(reader([0, b""]), "n", 3, width_min=1)


@given(SIGNED)
def test_wrapping_keeps_numbers_modulo_two_to_the_64(values: list[int]) -> None:
    large = [1000 * one for one in values]
    for one, found in zip(large, columns.wrapped(large), strict=True):
        assert (one - found) % 2**64 == 0
        assert -MAX - 1 <= found <= MAX
