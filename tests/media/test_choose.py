"""What goes on which medium: importance, splitting, going on, copies. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.ids import BundleId, StreamId
from bundle.intervals import IntervalSet
from bundle.media import carried as memories
from bundle.media.carried import NEVER, Carriage
from bundle.media.choose import (
    COPIES_MAX,
    SPLIT_BYTES_MIN,
    Plan,
    Room,
    Ware,
    part_bytes,
    plan_loads,
    plan_parts,
)
from bundle.media.errors import PartTooSmall
from bundle.media.facts import Facts
from bundle.wire.manifest import Kind

HEAD = 100


def ware(
    number: int, sizes: list[int], kind: Kind = Kind.RESULT, stream: bytes = b"s" * 16
) -> Ware:
    """A bundle whose id is its number."""
    facts = Facts(
        BundleId(f"{number:064x}"), kind, "north", "central", StreamId(stream), number, b"",
        len(sizes),
    )  # fmt: skip
    return Ware(facts, HEAD + sum(sizes), HEAD, dict(enumerate(sizes)))


def room(free: int, file_max: int = 1 << 40) -> Room:
    """A medium that is empty, with blocks of one byte."""
    return Room(free, free, file_max, block_bytes=1)


sizes_of = st.lists(st.integers(0, 5000), min_size=1, max_size=12)
wares_of = st.lists(
    st.tuples(sizes_of, st.sampled_from([Kind.RESULT, Kind.REPORT, Kind.TELEMETRY, Kind.DATA])),
    max_size=8,
).map(lambda rows: [ware(n, sizes, kind) for n, (sizes, kind) in enumerate(rows)])


@given(sizes_of, st.integers(1, 20_000))
def test_parts_hold_every_chunk_once_and_fit(sizes: list[int], size_max: int) -> None:
    one = ware(0, sizes)
    if HEAD + max(sizes) > size_max and one.file_bytes > size_max:
        with pytest.raises(PartTooSmall) as refused:
            plan_parts(one, size_max)
        smallest = int(refused.value.fields["need"])
        assert plan_parts(one, smallest)
        assert str(smallest) in refused.value.text()
        return
    parts = plan_parts(one, size_max)
    if parts == [None]:
        assert one.file_bytes <= size_max
        return
    kept = [part for part in parts if part is not None]
    assert sum(map(len, kept)) == len(sizes)
    assert IntervalSet.spanning(span for part in kept for span in part.spans) == one.places
    assert all(part_bytes(one, part) <= size_max for part in kept)


@given(wares_of, st.integers(0, 60_000), st.integers(200, 60_000))
def test_a_medium_is_never_overfilled_and_nothing_is_forgotten(
    wares: list[Ware], free: int, file_max: int
) -> None:
    made = room(free, file_max)
    plan = plan_loads(wares, {}, made)
    assert sum(made.cost(load.size_bytes) for load in plan.loads) <= max(free, 0)
    assert all(load.size_bytes <= file_max for load in plan.loads)
    assert len({load.name for load in plan.loads}) == len(plan.loads)
    assert all(load.name == load.name.lower() for load in plan.loads)
    for one in wares:
        laid = [load for load in plan.loads if load.ware is one]
        left = [rest for rest in plan.left if rest.ware is one]
        places = [place for load in laid for place in load.places]
        assert len(places) == len(set(places))
        missing = set(one.places) - set(places)
        assert bool(left) == bool(missing)
        if left and left[0].places.spans:
            assert set(left[0].places) == missing


@given(wares_of, st.integers(5400, 60_000), st.integers(5200, 60_000))
def test_medium_after_medium_everything_is_carried_once(
    wares: list[Ware], free: int, file_max: int
) -> None:
    carried: dict[BundleId, Carriage] = {}
    for _ in range(200):
        todo = [one for one in wares if not carried.get(one.facts.id, NEVER).times]
        if not todo:
            break
        plan = plan_loads(todo, carried, room(free, file_max))
        assert plan.loads
        assert not [one for one in plan.left if one.need_bytes]
        _carry(plan, carried)
    assert {one.facts.id for one in wares} == set(carried)
    assert {one.times for one in carried.values()} <= {1}
    assert memories.decode(memories.encode(carried, carried)) == carried


def _carry(plan: Plan, carried: dict[BundleId, Carriage]) -> None:
    for load in plan.loads:
        one = load.ware.facts.id
        carried[one] = memories.note(carried.get(one, NEVER), load.ware.places, load.places)


def test_results_come_first_then_reports_telemetry_bulk_and_the_oldest_numbers() -> None:
    kinds = [Kind.DATA, Kind.TELEMETRY, Kind.REPORT, Kind.RESULT, Kind.RESULT]
    wares = [ware(9 - n, [10], kind) for n, kind in enumerate(kinds)]
    plan = plan_loads(wares, {}, room(10_000))
    said = [(load.ware.facts.kind, load.ware.facts.sequence) for load in plan.loads]
    assert said == [
        (Kind.RESULT, 5), (Kind.RESULT, 6), (Kind.REPORT, 7), (Kind.TELEMETRY, 8), (Kind.DATA, 9),
    ]  # fmt: skip


def test_a_full_medium_leaves_what_matters_least() -> None:
    wares = [ware(n, [300], Kind.TELEMETRY if n < 3 else Kind.RESULT) for n in range(6)]
    plan = plan_loads(wares, {}, room(3 * 402))
    assert {load.ware.facts.kind for load in plan.loads} == {Kind.RESULT}
    assert {one.ware.facts.kind for one in plan.left} == {Kind.TELEMETRY}


def test_a_large_bundle_is_split_over_media_a_small_one_waits() -> None:
    large = ware(0, [SPLIT_BYTES_MIN // 4] * 8)
    plan = plan_loads([large], {}, Room(SPLIT_BYTES_MIN, 10 * SPLIT_BYTES_MIN))
    assert [load.keep for load in plan.loads] == [IntervalSet(((0, 3),))]
    assert plan.left[0].places == IntervalSet(((3, 8),))
    small = ware(0, [500] * 4)
    plan = plan_loads([small], {}, Room(1500, 100_000, block_bytes=1))
    assert not plan.loads
    assert plan.left[0].places == IntervalSet()


def test_a_chunk_that_fits_on_no_such_medium_is_named_with_its_size() -> None:
    plan = plan_loads([ware(0, [10, 9000]), ware(1, [10])], {}, room(5000))
    assert [load.ware.facts.sequence for load in plan.loads] == [1]
    assert plan.left[0].need_bytes == HEAD + 9000


def test_what_was_carried_without_an_answer_is_laid_once_more_each_time() -> None:
    one = ware(0, [10])
    for times in range(7):
        carried = {one.facts.id: Carriage(times)}
        plan = plan_loads([one], carried, room(10_000))
        assert len(plan.loads) == min(times + 1, COPIES_MAX)
    plan = plan_loads([one], {one.facts.id: Carriage(4)}, room(2 * 112))
    assert len(plan.loads) == 2  # as the room allows
