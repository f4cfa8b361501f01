"""Numbers, times and sets in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.cli.cat import LINE_CHARS_MAX, readable
from bundle.intervals import IntervalSet
from bundle.look.words import RUNS_SHOWN, counted, listed, numbered, receipt, runs, size, time
from bundle.records.receipt import StreamReceipt


@given(st.sets(st.integers(0, 60), max_size=12))
def test_runs_name_every_number_once(numbers: set[int]) -> None:
    named: list[int] = []
    for run in filter(None, runs(IntervalSet.of(numbers)).split(", ")):
        first, _, last = run.partition("-")
        named += range(int(first), int(last or first) + 1)
    assert named == sorted(numbers)


def test_many_runs_are_counted() -> None:
    text = runs(IntervalSet.of(range(0, 100, 2)))
    assert text.endswith(f"22 and {50 - RUNS_SHOWN} more runs")


def test_one_and_many() -> None:
    assert (counted(1, "file"), counted(1200, "file")) == ("1 file", "1,200 files")
    assert numbered("bundle", IntervalSet.of([3])) == "bundle 3"
    assert numbered("bundle", IntervalSet.of([3, 4])) == "bundles 3-4"
    assert [listed("abc"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (20 << 30, "20.0 GiB"),
        (5 << 40, "5120.0 GiB"),
    ],
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


@given(st.integers(0, 2**64))
def test_a_time_is_a_date_or_itself(us: int) -> None:
    assert time(us)[-1] in "0s"


def test_a_time_that_is_no_date() -> None:
    assert time(1_700_000_000_000_000) == "2023-11-14T22:13:20+00:00"
    assert time(2**63) == f"{2**63} us"


def test_a_receipt_says_what_became_of_a_stream() -> None:
    assert receipt(StreamReceipt(b"s" * 16)) == "nothing arrived"  # type: ignore[arg-type]
    one = StreamReceipt(
        b"s" * 16,  # type: ignore[arg-type]
        merged=IntervalSet(((0, 4), (5, 6))),
        parked=IntervalSet(((4, 5),)),
        refused=tuple((number, "bomb") for number in range(10, 30)),
    )
    assert receipt(one).startswith("merged 0-3, 5; parked 4; refused 10 (bomb), ")
    assert receipt(one).endswith(f"and {20 - RUNS_SHOWN} more")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@given(VALUES)
def test_readable_json_is_the_same_value_on_short_lines(value: object) -> None:
    import json

    text = readable(value)
    assert json.loads(text) == value
    assert text.isascii()
    for line in text.splitlines():
        assert len(line) <= LINE_CHARS_MAX + 4 or line.count('"') >= 2
