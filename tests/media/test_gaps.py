"""Gap lists by number, whatever the order and repetition; chains that fit or not. Pure."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from bundle.ids import BundleId, StreamId
from bundle.intervals import IntervalSet
from bundle.media.facts import Facts
from bundle.media.gaps import find_gaps, numbers, words
from bundle.wire.manifest import Kind


def chain(length: int, producer: str = "north", stream: bytes = b"s" * 16) -> list[Facts]:
    """A whole stream, each naming the one before."""
    ids = [BundleId(f"{producer.encode().hex()}{n:050x}".rjust(64, "0")) for n in range(length)]
    before = [b"", *(bytes.fromhex(one) for one in ids)]
    return [
        Facts(ids[n], Kind.RESULT, producer, "central", StreamId(stream), n, before[n], 1)
        for n in range(length)
    ]


@given(
    st.integers(1, 40),
    st.sets(st.integers(0, 39)),
    st.randoms(use_true_random=False),
)
def test_what_was_dropped_is_what_is_missing(
    length: int, dropped: set[int], draw: random.Random
) -> None:
    kept = [one for one in chain(length) if one.sequence not in dropped]
    seen = kept + draw.choices(kept, k=len(kept)) if kept else []
    draw.shuffle(seen)
    found = find_gaps(seen)
    if not kept:
        assert not found
        return
    (one,) = found
    first, last = kept[0].sequence, kept[-1].sequence
    assert set(one.missing) == {n for n in dropped if first < n < last}
    assert set(one.before) == set(range(first))
    assert one.came == IntervalSet.of(f.sequence for f in kept)
    assert not one.rivals
    assert not one.breaks.spans


def test_streams_and_producers_are_told_apart() -> None:
    facts = chain(3)[::2] + chain(2, "south") + chain(4, "south", b"t" * 16)[3:]
    found = [(one.producer, set(one.missing), set(one.before)) for one in find_gaps(facts)]
    assert found == [("north", {1}, set()), ("south", set(), set()), ("south", set(), {0, 1, 2})]


def test_two_bundles_of_one_number_are_both_named() -> None:
    facts = chain(4)
    rival = facts[2]._replace(id=BundleId("f" * 64))
    (one,) = find_gaps([*facts, rival])
    assert one.rivals == ((2, tuple(sorted((facts[2].id, rival.id)))),)
    assert not one.breaks.spans  # the third names one of the two
    assert not one.is_sound
    assert "2 has 2 bundles" in words(one)


def test_a_bundle_that_names_another_predecessor_is_told() -> None:
    facts = chain(4)
    facts[2] = facts[2]._replace(previous=b"x" * 32)
    (one,) = find_gaps(facts)
    assert set(one.breaks) == {2}
    assert set(find_gaps([*facts[:1], *facts[2:]])[0].breaks) == set()  # nothing to compare with


def test_numbers_read_as_people_write_them() -> None:
    assert numbers(IntervalSet.of([3, 7, 8, 9])) == "3, 7-9"
    (one,) = find_gaps(chain(9)[:2] + chain(9)[5:])
    assert "2-4 have not arrived" in words(one)
