"""A segment gives back its attempts, has one form for the same attempts, and refuses the rest."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import canonical, shape
from bundle.fates import FATES, Fate
from bundle.ids import BundleId, LeaseId, PilotRun, dataset_id
from bundle.limits import ATTEMPTS_PER_SEGMENT_MAX, MIB, PLACES_PER_SEGMENT_MAX
from bundle.records import segment as segments
from bundle.records.attempt import Attempt, Usage
from bundle.records.segment import Host, Segment, SegmentHeader

MAX = 2**63 - 1
HOST = Host("node", "linux", "cpu", 64, 257_000, "boot", "3.11.7", "0.1.0", "namespace")
HEADER = SegmentHeader(
    *(PilotRun(b"p" * 8), LeaseId(b"l" * 16), dataset_id(b"d" * 16), b"s" * 32),
    *(BundleId("ab" * 32), 3, 1, HOST),
)

COUNT = st.one_of(st.integers(0, 300), st.integers(0, MAX), st.sampled_from((0, MAX)))
DIGEST = st.sampled_from([bytes([one]) * 32 for one in range(5)]) | st.binary(
    min_size=32, max_size=32
)
TEXT = st.sampled_from(("", "corsika==7.75 numpy==1.26.4")) | st.text(max_size=9)
USAGE = st.builds(Usage, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT)
ATTEMPT = st.builds(
    Attempt,
    *(COUNT, COUNT, COUNT, COUNT, st.sampled_from(FATES), st.integers(-MAX - 1, MAX)),
    *(COUNT, COUNT, COUNT, COUNT, COUNT),
    usage=USAGE,
    consumed=st.lists(DIGEST, max_size=4).map(tuple),
    outputs=st.lists(st.tuples(DIGEST, COUNT), max_size=3).map(tuple),
    software=TEXT,
    evidence=TEXT,
)
SEGMENT = st.builds(
    Segment,
    st.just(HEADER),
    st.lists(ATTEMPT, max_size=9).map(tuple),
    st.booleans(),
    st.none() | st.integers(0, MAX),
)


def attempt(number: int, **changes: Any) -> Attempt:
    one = Attempt(
        *(number, 0, 0, number, Fate.SUCCESS, 0, 0),
        *(10**15 + 1000 * number, 1000 * number, 1000 * number + 5000, number % 64),
        usage=Usage(4, 3, 800, 4096, 100, 20),
        consumed=(b"c" * 32,),
        outputs=((number.to_bytes(32, "big"), 20),),
        software="x==1",
    )
    return replace(one, **changes)


def changed(change: Callable[[dict[str, Any]], Any], attempts: int = 3) -> bytes:
    """The bytes of a segment in which something is not as it should be."""
    made = Segment(HEADER, tuple(map(attempt, range(attempts))), True)
    value = msgpack.unpackb(segments.encode(made), raw=False)
    change(value)
    return canonical.encode(value)


@given(SEGMENT)
def test_a_segment_comes_back_whatever_its_numbers(segment: Segment) -> None:
    raw = segments.encode(segment)
    found = segments.decode(raw)
    assert found == segment
    assert segments.encode(found) == raw


@given(SEGMENT)
def test_the_journals_form_gives_the_same_bytes(segment: Segment) -> None:
    rows = [canonical.encode(segments.row_to_wire(one)) for one in segment.attempts]
    read = (msgpack.unpackb(row, raw=False) for row in rows)
    salvaged = tuple(segments.row_from_wire(shape.Reader(row, "row")) for row in read)
    assert segments.encode(replace(segment, attempts=salvaged)) == segments.encode(segment)


def test_an_attempt_with_a_random_output_is_small() -> None:
    chosen = random.Random(1)
    attempts = tuple(
        attempt(number, outputs=((chosen.randbytes(32), chosen.randrange(2**16)),))
        for number in range(1000)
    )
    assert len(segments.encode(Segment(HEADER, attempts, True))) < 45 * 1000


def test_what_no_reader_would_take_is_not_written() -> None:
    many = Segment(HEADER, (attempt(0),) * (ATTEMPTS_PER_SEGMENT_MAX + 1), True)
    consumed = attempt(0, consumed=(b"c" * 32,) * PLACES_PER_SEGMENT_MAX)
    refused = {
        "attempts": many,
        "consumed and outputs": Segment(HEADER, (consumed,), True),
        "32 bytes": Segment(HEADER, (attempt(0, consumed=(b"short",)),), True),
        "job": Segment(HEADER, (attempt(0, job=-1),), True),
        "started_us": Segment(HEADER, (attempt(0, started_us=-MAX, ended_mono_us=9),), True),
    }
    for reason, segment in refused.items():
        with pytest.raises(canonical.NotEncodable, match=reason):
            segments.encode(segment)


def test_what_derived_columns_give_must_be_counts() -> None:
    for name, change in (
        ("started_mono_us", {"overhead_us": [5001, b""]}),
        ("started_us", {"clock_offset_us": [-1, b""]}),
        ("cpu_ms", {"idle_ms": [5, b""]}),
    ):
        with pytest.raises(shape.WrongShape, match=name):
            segments.decode(changed(lambda value: value["columns"].update(change), attempts=1))  # noqa: B023


def put(path: str, one: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change that puts something at a path of keys and positions."""

    def change(value: Any) -> None:
        *way, last = [int(key) if key.isdecimal() else key for key in path.split(".")]
        for key in way:
            value = value[key]
        value[last] = one

    return change


HOSTILE = {
    "2^40 equal attempts": ("segment.attempts", put("attempts", 1 << 40)),
    "one attempt too many": ("segment.attempts", put("attempts", ATTEMPTS_PER_SEGMENT_MAX + 1)),
    "attempts as text": ("segment.attempts", put("attempts", "3")),
    "fewer attempts than planes": ("segment.columns.job", put("attempts", 2)),
    "no columns": ("segment.columns", put("columns", None)),
    "columns as an array": ("segment.columns", put("columns", [])),
    "a fate that is none": ("segment.columns.fate", put("columns.fate", [len(FATES), b""])),
    "a text out of the table": ("segment.columns.software", put("columns.software", [2, b""])),
    "no texts": ("segment.columns.software", put("texts", [])),
    "digests and a byte": ("segment.digests", put("digests", b"c" * 129)),
    "digests that nothing refers to": ("segment.digests", put("digests", b"c" * 32 * 7)),
    "a place out of the table": ("segment.columns.consumed[1]", put("digests", b"")),
    "2^40 consumed by each": (
        "segment.columns",
        put("columns.consumed.0", [1 << 40, b""]),
    ),
    "2^62 consumed by each": ("segment.columns", put("columns.consumed.0", [1 << 62, b""])),
    "places without planes": ("segment.columns.consumed[1]", put("columns.consumed.1", [0, b""])),
    "one place too few": ("segment.columns.consumed[1]", put("columns.consumed.1", [0, b"\0\0"])),
    "consumed as a map": ("segment.columns.consumed", put("columns.consumed", {})),
    "consumed with sizes": (
        "segment.columns.consumed",
        put("columns.consumed", [[1, b""], [0, b"\0\0\0"], [0, b""]]),
    ),
    "outputs without sizes": (
        "segment.columns.outputs",
        put("columns.outputs", [[1, b""], [1, b"\0\2\2"]]),
    ),
    "a size below 0": ("segment.columns.outputs[2]", put("columns.outputs.2", [-1, b""])),
    "an exit code out of range": (
        "segment.columns.exit_code",
        put("columns.exit_code", [MAX, b"\0\1\2"]),
    ),
}


@pytest.mark.parametrize(("where", "change"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_segment_is_refused_by_name_and_costs_nothing(
    where: str, change: Callable[[dict[str, Any]], None]
) -> None:
    raw = changed(change)
    tracemalloc.start()
    try:
        with pytest.raises(shape.WrongShape) as caught:
            segments.decode(raw)
        assert caught.value.where.startswith(where), caught.value.text()
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_a_column_that_is_missing_is_named() -> None:
    for name in segments.COLUMNS:
        with pytest.raises(shape.WrongShape, match=name):
            segments.decode(changed(lambda value: value["columns"].pop(name)))  # noqa: B023
