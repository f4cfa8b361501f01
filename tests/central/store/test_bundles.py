"""Bundles, streams and sites, in both engines."""

from __future__ import annotations

import pytest

from bundle.ids import BundleId, Epoch, SiteName, StreamId
from bundle.intervals import IntervalSet
from bundle.records.receipt import StreamReceipt
from central.core.receipts import Outcome
from central.errors import ConstraintBroken
from central.store import bundles
from central.store.protocol import Store
from tests.central.store import made

NORTH = SiteName("north")


def add(store: Store, *rows: object) -> list[int]:
    with store.transaction():
        return [store.bundles.add_bundle(row) for row in rows]  # type: ignore[arg-type]


def test_a_bundle_comes_back_as_it_was_added(store: Store) -> None:
    plain = made.bundle(1, text="not \N{SNOWMAN} ascii", code="c")
    commit = made.bundle(2, kind="commit", epoch=made.EPOCH, commit=2**40, sequence=2**62)
    parked = made.bundle(3, outcome=Outcome.PARKED, missing="lease")
    numbers = add(store, plain, commit, parked)
    for row, no in zip((plain, commit, parked), numbers, strict=True):
        assert store.bundles.bundle(row.id) == row._replace(no=no)
        assert store.bundles.bundle_id(no) == row.id
    assert store.bundles.bundle(BundleId("0" * 64)) is None
    assert numbers == sorted(numbers)


def test_a_bundle_is_added_once(store: Store) -> None:
    add(store, made.bundle(1))
    with pytest.raises(ConstraintBroken):
        add(store, made.bundle(2), made.bundle(1))
    assert store.bundles.bundle(made.bundle(2).id) is None


def test_an_outcome_changes_once_a_bundle_is_merged_after_all(store: Store) -> None:
    (no,) = add(store, made.bundle(1, outcome=Outcome.PARKED, missing="lease"))
    assert [one.missing for one in store.bundles.parked()] == ["lease"]
    with store.transaction():
        store.bundles.set_outcome(no, Outcome.MERGED, "", "well", safe=True)
    expected = made.bundle(1, outcome="merged", text="well", safe=True, no=no)
    assert store.bundles.bundle(expected.id) == expected
    assert store.bundles.parked() == []


def test_parked_and_merged_ones_come_in_order_of_arrival(store: Store) -> None:
    outcomes = ["merged", "parked", "refused", "parked", "merged"]
    rows = [made.bundle(9 - at, outcome=one) for at, one in enumerate(outcomes)]
    add(store, *rows)
    assert [row.sequence for row in store.bundles.parked()] == [8, 6]
    assert [row.sequence for row in store.bundles.merged()] == [9, 5]
    assert store.bundles.merged_ids() == {rows[0].id, rows[4].id}
    assert [row.sequence for row in store.bundles.unsafe()] == [5]


def test_all_merged_ones_are_gone_through_while_the_store_changes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "PAGE", 3)
    add(store, *(made.bundle(number) for number in range(10)))
    seen = []
    for row in store.bundles.merged():
        seen.append(row.sequence)
        if row.sequence == 4:
            with store.transaction():
                store.bundles.set_outcome(row.no, "refused", "", "", safe=False)
                store.bundles.add_bundle(made.bundle(10))
    assert seen == list(range(11))


def test_bundles_are_counted_by_kind_and_outcome(store: Store) -> None:
    rows = [made.bundle(n, leases=n // 2, outcome="merged" if n else "parked") for n in range(4)]
    add(store, *rows, made.bundle(4, kind="commit", leases=0))
    assert store.bundles.kinds() == [
        ("commit", False, "merged", 1),
        ("result", False, "merged", 1),
        ("result", False, "parked", 1),
        ("result", True, "merged", 2),
    ]


def test_the_head_of_an_epoch_is_its_highest_commit(store: Store) -> None:
    other = Epoch(3, b"f" * 16)
    assert (store.bundles.head(made.EPOCH), store.bundles.epoch_max()) == (0, 0)
    for number, (epoch, commit) in enumerate([(made.EPOCH, 5), (made.EPOCH, 2), (other, 9)]):
        add(store, made.bundle(number, epoch=epoch, commit=commit))
    assert (store.bundles.head(made.EPOCH), store.bundles.head(other)) == (5, 9)
    assert store.bundles.epoch_max() == 3


def test_the_last_two_commits_up_to_a_number_are_known(store: Store) -> None:
    rows = [made.bundle(one, epoch=made.EPOCH, commit=one) for one in (3, 4, 1)]
    add(store, *rows, made.bundle(9, epoch=Epoch(3, b"f" * 16), commit=4))

    def told(commit: int) -> list[tuple[int, str]]:
        return [(one.commit, one.id) for one in store.bundles.commits_to(made.EPOCH, commit)]

    assert told(9) == [(4, rows[1].id), (3, rows[0].id)]
    assert told(3) == [(3, rows[0].id), (1, rows[2].id)]
    assert told(1) == [(1, rows[2].id)]
    assert told(0) == []


def test_a_streams_last_bundle_and_its_rivals_are_known(store: Store) -> None:
    stream, other = made.bundle(1).stream, StreamId(b"o" * 16)
    assert store.bundles.last_of_stream(stream) is None
    rows = [made.bundle(one) for one in (3, 7, 5)]
    rival = made.bundle(8, sequence=7)
    add(store, *rows, rival, made.bundle(9, stream=other))
    assert store.bundles.last_of_stream(stream) == (7, rows[1].id)
    assert store.bundles.rivals(rival) == [rows[1].id]
    assert store.bundles.rivals(rows[0]) == []


def test_a_receipt_is_replaced(store: Store) -> None:
    streams = [StreamId(bytes([one]) * 16) for one in (2, 1)]
    assert store.bundles.receipt(streams[0]) == StreamReceipt(streams[0])
    first = StreamReceipt(streams[0], merged=IntervalSet.of([0]))
    later = StreamReceipt(streams[0], merged=IntervalSet.of([0, 1]), refused=((2, "no"),))
    with store.transaction():
        store.bundles.save_receipt("north", first)
        store.bundles.save_receipt("north", StreamReceipt(streams[1]))
        store.bundles.save_receipt("south", StreamReceipt(StreamId(b"x" * 16)))
        store.bundles.save_receipt("north", later)
    assert store.bundles.receipt(streams[0]) == later
    assert store.bundles.receipts("north") == [StreamReceipt(streams[1]), later]


def test_tallies_count(store: Store) -> None:
    with store.transaction():
        for name in ("a", "b", "a"):
            store.bundles.tally(name)
    assert store.bundles.tallies() == {"a": 2, "b": 1}


def test_a_site_that_nobody_heard_of_is_empty(store: Store) -> None:
    site = store.bundles.site(NORTH)
    assert (site.name, site.key, site.report_marks, site.news) == (NORTH, b"", (), 0)
    assert store.bundles.sites() == []


def test_what_a_site_said_last_is_kept(store: Store) -> None:
    marks = ((StreamId(b"s" * 16), 4), (StreamId(b"t" * 16), 0))
    with store.transaction():
        store.bundles.set_report(NORTH, b"report", marks)
        store.bundles.set_received(NORTH, b"received", marks[:1])
        store.bundles.enrol(SiteName("alpha"), b"k" * 32, 5)
        store.bundles.enrol(SiteName("alpha"), b"l" * 32, 6)
        store.bundles.add_news(NORTH)
        store.bundles.add_news(NORTH)
    alpha, north = store.bundles.sites()
    assert (alpha.name, alpha.key, alpha.enrolled_us) == ("alpha", b"l" * 32, 6)
    assert (north.report, north.report_marks) == (b"report", marks)
    assert (north.received, north.received_marks) == (b"received", marks[:1])
    assert (north.news, north.told) == (2, 0)
    with store.transaction():
        store.bundles.set_told(NORTH)
    assert store.bundles.site(NORTH) == north._replace(told=2)


def test_names_are_ordered_by_their_bytes(store: Store) -> None:
    with store.transaction():
        for name in ("b", "a-b", "ab", "a1"):
            store.bundles.enrol(SiteName(name), b"", 0)
    assert [one.name for one in store.bundles.sites()] == ["a-b", "a1", "ab", "b"]
