"""Segments read as numpy columns are what the strict reader reads, or are refused as it does."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bundle import canonical
from bundle.errors import PulkError
from bundle.fates import Fate
from bundle.limits import SEGMENT_LIMITS
from bundle.records import segment as segments
from bundle.records.attempt import Attempt, Usage
from bundle.records.attempts import COLUMNS
from bundle.records.segment import Segment
from central.core import planes, segment_decode, segments_together
from central.core.segment_columns import Laid, SegmentColumns
from tests.bundle.test_segment import ATTEMPT, HEADER, MAX

ATTEMPTS = st.lists(ATTEMPT, max_size=6)
BASE = st.sampled_from((0, 1, -1, MAX, -MAX - 1, planes.BASE_MAX, False)) | st.integers(-9, 9)
COLUMN = st.one_of(
    st.tuples(BASE, st.binary(max_size=24)).map(list),
    st.sampled_from((None, [], [0], [0, b"", 0], {}, b"", 7)),
)

USUAL = tuple(
    Attempt(
        *(job, 0, 1, job), Fate.SUCCESS, *(0, 0, 10**15, 10**9, 2 * 10**9, 0),
        usage=Usage(900, 800, 70), outputs=((bytes(32), 1000 * job),),
    )
    for job in range(50)
)  # fmt: skip
SOUND = segments.encode(Segment(HEADER, USUAL, complete=True))
WHOLE = st.builds(
    lambda of, complete, at: segments.encode(Segment(HEADER, tuple(of), complete, at)),
    ATTEMPTS,
    st.booleans(),
    st.none() | st.integers(0, MAX),
)
FIELD = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**63), st.floats(), st.text(max_size=3),
    st.binary(max_size=33), st.lists(st.text(max_size=2), max_size=2), st.just({}),
)  # fmt: skip


@given(ATTEMPTS)
def test_columns_give_back_the_attempts_that_were_written(attempts: list[Any]) -> None:
    raw = segments.encode(Segment(HEADER, tuple(attempts), complete=True))
    found = segment_decode.decode(raw)
    assert [found.attempt(row) for row in range(found.count)] == attempts


@given(ATTEMPTS, st.sampled_from(COLUMNS), COLUMN, st.integers(0, 2))
def test_a_column_that_was_tampered_with_is_read_or_refused_as_the_strict_reader_does(
    attempts: list[Any], name: str, column: Any, place: int
) -> None:
    raw = segments.encode(Segment(HEADER, tuple(attempts), complete=True))
    value = copy.deepcopy(canonical.decode(raw, SEGMENT_LIMITS))
    columns = value["columns"]
    if name in segment_decode.LISTS and place < len(columns[name]):
        columns[name][place] = column
    else:
        columns[name] = column
    _both_agree(canonical.encode(value))


@given(ATTEMPTS.filter(len), st.sampled_from(segment_decode.NUMBERS), st.integers(1, 8))
def test_a_column_written_wider_than_it_need_be_reads_the_same_everywhere(
    attempts: list[Any], name: str, width: int
) -> None:
    raw = segments.encode(Segment(HEADER, tuple(attempts), complete=True))
    value = copy.deepcopy(canonical.decode(raw, SEGMENT_LIMITS))
    column = value["columns"][name]
    column[1] = column[1].ljust(width * len(attempts), b"\0")
    _both_agree(canonical.encode(value))


@given(st.lists(WHOLE, max_size=5))
def test_many_segments_read_together_are_what_each_is_alone(raws: list[bytes]) -> None:
    together = segments_together.decode_all(raws)
    alone = [segment_decode.decode(raw) for raw in raws]
    for one, other in zip(together, alone, strict=True):
        _is_the_same(one, other)
        _is_the_same(one.alone(), other)
    if alone:
        for name in alone[0].whole:
            every = np.concatenate([one[name] for one in alone])
            assert np.array_equal(Laid(together)[name], every)
            assert np.array_equal(Laid([*together, *alone])[name], np.concatenate([every] * 2))


def test_what_a_pilot_writes_is_read_together() -> None:
    """Else all of it would be read one by one, correctly, and nobody would see it."""
    assert all(segments_together.evident([SOUND] * 3))


@given(ATTEMPTS, st.sampled_from(("", "header", "host")), st.data())
def test_a_field_that_was_tampered_with_is_read_or_refused_as_the_strict_reader_does(
    attempts: list[Any], where: str, data: st.DataObject
) -> None:
    raw = segments.encode(Segment(HEADER, tuple(attempts), complete=True))
    value = copy.deepcopy(canonical.decode(raw, SEGMENT_LIMITS))
    of = {"": value, "header": value["header"], "host": value["header"]["host"]}[where]
    name = data.draw(st.sampled_from([*of, "new"]))
    if name in of and data.draw(st.booleans()):
        del of[name]
    else:
        of[name] = data.draw(FIELD)
    try:
        raw = canonical.encode(value)
    except PulkError:
        return
    _both_agree(raw)


@given(ATTEMPTS.filter(len), st.data())
def test_bytes_that_were_tampered_with_are_read_or_refused_as_the_strict_reader_does(
    attempts: list[Any], data: st.DataObject
) -> None:
    raw = bytearray(segments.encode(Segment(HEADER, tuple(attempts), complete=True)))
    for _ in range(data.draw(st.integers(1, 2))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from((0, 0, 0, 1)))
    _both_agree(bytes(raw[: len(raw) - cut]))


def _is_the_same(one: SegmentColumns, other: SegmentColumns) -> None:
    for name in ("header", "complete", "salvaged", "count", "digests", "texts", "summary"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.whole.keys() == other.whole.keys()
    assert all(np.array_equal(one[name], other[name]) for name in other.whole)
    rows = range(other.count)
    assert _attempts(one) == _attempts(other)
    assert [one.consumed_bytes(row) for row in rows] == [other.consumed_bytes(row) for row in rows]
    assert one.outcomes(rows) == other.outcomes(rows) == [other.outcome(row) for row in rows]


def _both_agree(raw: bytes) -> None:
    strict = _result(lambda: segments.decode(raw).attempts)
    alone = _result(lambda: _attempts(segment_decode.decode(raw)))
    assert strict == alone
    beside = [raw, SOUND, raw]
    for one, of in zip(segments_together.evident(beside), beside, strict=True):
        if one is not None:
            _is_the_same(one, segment_decode.decode(of))
    together = _result(lambda: _attempts(segments_together.decode_all([SOUND, raw])[1]))
    assert strict == together


def _attempts(found: SegmentColumns) -> tuple[Any, ...]:
    return tuple(found.attempt(row) for row in range(found.count))


def _result(read: Any) -> Any:
    try:
        return [dataclasses.astuple(one) for one in read()]
    except PulkError as error:
        return type(error)
