"""Segments read as numpy columns are what the strict reader reads, or are refused as it does."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bundle import canonical
from bundle.errors import PulkError
from bundle.limits import SEGMENT_LIMITS
from bundle.records import segment as segments
from bundle.records.attempts import COLUMNS
from bundle.records.segment import Segment
from central.core import planes, segment_columns
from tests.bundle.test_segment import ATTEMPT, HEADER, MAX

ATTEMPTS = st.lists(ATTEMPT, max_size=6)
BASE = st.sampled_from((0, 1, -1, MAX, -MAX - 1, planes.BASE_MAX, False)) | st.integers(-9, 9)
COLUMN = st.one_of(
    st.tuples(BASE, st.binary(max_size=24)).map(list),
    st.sampled_from((None, [], [0], [0, b"", 0], {}, b"", 7)),
)


@given(ATTEMPTS)
def test_columns_give_back_the_attempts_that_were_written(attempts: list[Any]) -> None:
    raw = segments.encode(Segment(HEADER, tuple(attempts), complete=True))
    found = segment_columns.decode(raw)
    assert [found.attempt(row) for row in range(found.count)] == attempts


@given(ATTEMPTS, st.sampled_from(COLUMNS), COLUMN, st.integers(0, 2))
def test_a_column_that_was_tampered_with_is_read_or_refused_as_the_strict_reader_does(
    attempts: list[Any], name: str, column: Any, place: int
) -> None:
    raw = segments.encode(Segment(HEADER, tuple(attempts), complete=True))
    value = copy.deepcopy(canonical.decode(raw, SEGMENT_LIMITS))
    columns = value["columns"]
    if name in segment_columns.LISTS and place < len(columns[name]):
        columns[name][place] = column
    else:
        columns[name] = column
    _both_agree(canonical.encode(value))


@given(ATTEMPTS.filter(len), st.sampled_from(segment_columns.NUMBERS), st.integers(1, 8))
def test_a_column_written_wider_than_it_need_be_reads_the_same_everywhere(
    attempts: list[Any], name: str, width: int
) -> None:
    raw = segments.encode(Segment(HEADER, tuple(attempts), complete=True))
    value = copy.deepcopy(canonical.decode(raw, SEGMENT_LIMITS))
    column = value["columns"][name]
    column[1] = column[1].ljust(width * len(attempts), b"\0")
    _both_agree(canonical.encode(value))


def _both_agree(raw: bytes) -> None:
    strict = _result(lambda: segments.decode(raw).attempts)
    quick = _result(lambda: _attempts(segment_columns.decode(raw)))
    assert strict == quick


def _attempts(found: segment_columns.SegmentColumns) -> tuple[Any, ...]:
    return tuple(found.attempt(row) for row in range(found.count))


def _result(read: Any) -> Any:
    try:
        return [dataclasses.astuple(one) for one in read()]
    except PulkError as error:
        return type(error)
