"""Segments and their spans, in both engines."""

from __future__ import annotations

import pytest

from central.errors import ConstraintBroken
from central.store.protocol import Store
from central.store.rows import SegmentRow, Span
from tests.central.store import made


def add(store: Store, *rows: SegmentRow) -> list[SegmentRow]:
    with store.transaction():
        numbers = store.segments.add(rows)
    return [row._replace(no=no) for row, no in zip(rows, numbers, strict=True)]


def test_segments_are_known_by_their_digests(store: Store) -> None:
    add(store, *(made.segment(number, 1) for number in range(3)))
    digests = [made.sha("segment", number) for number in range(1, 5)]
    assert store.segments.known(digests) == set(digests[:2])
    assert store.segments.known([]) == set()
    assert add(store) == []


def test_a_segment_is_added_once(store: Store) -> None:
    add(store, made.segment(1, 1))
    with pytest.raises(ConstraintBroken):
        add(store, made.segment(2, 1), made.segment(1, 1))
    assert store.segments.known([made.sha("segment", 2)]) == set()


def test_segments_are_found_by_the_blocks_that_they_touch(store: Store) -> None:
    low, high = Span(0, 0, 5, 9), Span(2, 65_535, 2**32 - 9, 2**32 - 1)
    rows = add(
        store, made.segment(1, 1, low, high), made.segment(2, 1, low), made.segment(3, 2, low)
    )
    bare = [row._replace(spans=()) for row in rows]
    assert store.segments.touching(1, [(0, 0)]) == [(bare[0], low), (bare[1], low)]
    assert store.segments.touching(1, {(2, 65_535), (0, 0)}) == [
        (bare[0], low),
        (bare[0], high),
        (bare[1], low),
    ]
    assert store.segments.touching(1, [(1, 0)]) == store.segments.touching(3, [(0, 0)]) == []


def test_only_segments_whose_spans_meet_some_jobs_are_found(store: Store) -> None:
    spans = [Span(0, 0, first, first + 9) for first in range(0, 100, 10)]
    add(store, *(made.segment(number, 1, span) for number, span in enumerate(spans)))

    def found(first: int, last: int) -> list[Span]:
        return [span for _, span in store.segments.touching(1, [(0, 0)], first, last)]

    assert found(40, 40) == found(49, 49) == found(41, 48) == [spans[4]]
    assert found(39, 50) == spans[3:6]
    assert found(100, 200) == []
    assert found(0, 99) == spans


def test_segments_of_leases_come_together_without_their_spans(store: Store) -> None:
    spans = (Span(0, 0, 1, 2), Span(0, 1, 65_536, 65_540), Span(1, 0, 0, 0))
    first, second = add(store, made.segment(1, 1, *spans), made.segment(2, 1))
    (other,) = add(store, made.segment(3, 1)._replace(lease=2))
    assert store.segments.of_leases([1]) == [first._replace(spans=()), second]
    assert store.segments.of_leases([2, 1]) == [first._replace(spans=()), second, other]
    assert store.segments.of_leases([3]) == []


def test_segments_of_a_dataset_come_page_by_page(store: Store) -> None:
    span = Span(0, 0, 1, 2)
    rows = add(store, *(made.segment(number, number % 2, span) for number in range(10)))
    ours = rows[1::2]
    first = store.segments.after(1, 0, 3)
    assert first == ours[:3]
    assert store.segments.after(1, first[-1].no, 99) == ours[3:]
    some = add(store, made.segment(20, 1, unsuccessful=0), made.segment(21, 1, unsuccessful=5))
    assert store.segments.after(1, ours[-1].no, 9, unsuccessful=True) == [some[1]]
    assert store.segments.after(1, ours[-1].no, 9) == some


def test_the_highest_generation_of_a_dataset_is_known(store: Store) -> None:
    assert store.segments.generation_max(1) == -1
    add(store, made.segment(1, 1))
    assert store.segments.generation_max(1) == 0
    add(store, made.segment(2, 1, generation_max=4), made.segment(3, 1, generation_max=2))
    add(store, made.segment(4, 2, generation_max=9))
    assert store.segments.generation_max(1) == 4


def test_ten_thousand_segments_are_added_and_found_at_once(store: Store) -> None:
    rows = [
        made.segment(number, 1, Span(0, number, number * 65_536, number * 65_536 + 1))
        for number in range(10_000)
    ]
    made_rows = add(store, *rows)
    assert [row.no for row in made_rows] == sorted(row.no for row in made_rows)
    found = store.segments.touching(1, [(0, number) for number in range(10_000)])
    assert [(row.place, span.block) for row, span in found] == [(n, n) for n in range(10_000)]
    assert len(store.segments.known({row.digest for row in rows})) == 10_000


def test_a_text_from_a_site_may_hold_anything(store: Store) -> None:
    (row,) = add(store, made.segment(1, 1, batch_id="a\0b\N{SNOWMAN}'\"%s\n"))
    (found,) = store.segments.of_leases([1])
    assert found == row._replace(batch_id="a\N{SYMBOL FOR NULL}b\N{SNOWMAN}'\"%s\n")
