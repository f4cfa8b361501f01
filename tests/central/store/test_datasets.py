"""Datasets, controls, works and leases, in both engines."""

from __future__ import annotations

import pytest

from bundle.ids import DatasetId, Epoch, LeaseId, SiteName, StreamId
from bundle.intervals import IntervalSet
from bundle.trust.signed import Signature
from central.core.facts import Control, ControlWord
from central.store.protocol import Store
from tests.central.store import made

NORTH = SiteName("north")


def test_a_document_is_kept_once(store: Store) -> None:
    with store.transaction():
        store.datasets.add_document(b"d", b"raw")
        store.datasets.add_document(b"d", b"another")
    assert store.datasets.document(b"d") == b"raw"
    assert (store.datasets.has_document(b"d"), store.datasets.has_document(b"e")) == (True, False)
    assert store.datasets.document(b"e") is None


def test_a_dataset_comes_back_as_it_was_added(store: Store) -> None:
    rows = [made.dataset(number) for number in range(3)]
    with store.transaction():
        rows = [row._replace(no=store.datasets.add_dataset(row)) for row in rows]
    for row in rows:
        assert store.datasets.dataset(row.id) == store.datasets.dataset_by_no(row.no) == row
    assert store.datasets.datasets() == rows[::-1]  # oldest first
    assert store.datasets.dataset(DatasetId("z" * 26)) is None
    with pytest.raises(LookupError):
        store.datasets.dataset_by_no(99)


def test_what_is_known_of_a_dataset_grows(store: Store) -> None:
    touched = IntervalSet.of(range(0, 2000, 2))
    with store.transaction():
        no = store.datasets.add_dataset(made.dataset(0, crossed=False))
        store.datasets.set_submitted(no, 77)
        store.datasets.set_touched(no, touched)
        store.datasets.set_crossed(no)
        row = store.datasets.dataset_by_no(no)
        row = row._replace(digest=b"edited", name="other", jobs=12, tasks=34)
        store.datasets.set_document(row)
        store.datasets.set_submitter(no, b"first")
        store.datasets.set_submitter(no, b"second")
    row = store.datasets.dataset_by_no(no)
    assert (row.submitted_us, row.touched, row.crossed) == (77, touched, True)
    assert (row.digest, row.name, row.jobs, row.tasks) == (b"edited", "other", 12, 34)
    assert (store.datasets.submitter(no), store.datasets.submitter(no + 1)) == (b"first", b"")


def test_cosignatures_of_a_document_are_ordered_by_key(store: Store) -> None:
    with store.transaction():
        store.datasets.add_cosignatures(b"d", [Signature(b"k2", b"s"), Signature(b"k1", b"s")])
        store.datasets.add_cosignatures(b"d", [Signature(b"k1", b"t")])
        store.datasets.add_cosignatures(b"d", [])
    assert store.datasets.cosignatures(b"d") == [Signature(b"k1", b"s"), Signature(b"k2", b"s")]


def test_controls_come_by_epoch_and_commit_for_one_dataset_and_for_many(store: Store) -> None:
    regions = ((0, IntervalSet.of([1, 2])), (2, IntervalSet.of([2**32 - 1])))
    first = Control(ControlWord.SUSPEND, None, Epoch(1, b"z" * 16), 9)
    second = Control(ControlWord.RESET, regions, Epoch(2, b"a" * 16), 1)
    third = Control(ControlWord.TOMBSTONE, None, Epoch(2, b"a" * 16), 2)
    with store.transaction():
        one, two, _ = (store.datasets.add_dataset(made.dataset(n)) for n in range(3))
        for control in (third, first, second, first):
            store.datasets.add_control(one, control)
        store.datasets.add_control(two, first)
    assert store.datasets.controls(one) == [first, second, third]
    assert store.datasets.controls(99) == []
    found = store.datasets.controls_of([two, one, 99, one])
    assert found == {one: [first, second, third], two: [first]}
    assert store.datasets.tombstones() == [made.dataset(0).id]


def test_a_work_manifest_is_kept_once(store: Store) -> None:
    row = made.work(1)
    with store.transaction():
        store.datasets.add_work(row)
        store.datasets.add_work(row._replace(created_us=99))
    assert store.datasets.work(row.id) == row
    assert store.datasets.work(made.work(2).id) is None


def test_a_lease_comes_back_as_it_was_added(store: Store) -> None:
    with store.transaction():
        rows = [made.known_lease(store, number, of=number % 2) for number in range(4)]
    for row in rows:
        assert store.datasets.lease(row.id) == store.datasets.lease_by_no(row.no) == row
    numbers = [rows[2].no, rows[0].no, 99]
    assert store.datasets.leases_by_no(numbers) == [rows[0], rows[2]]
    assert store.datasets.live_on(1) == [rows[1], rows[3]]
    assert store.datasets.lease(LeaseId(b"x" * 16)) is None
    with pytest.raises(LookupError):
        store.datasets.lease_by_no(99)


def test_a_lease_that_is_like_another_comes_with_what_that_one_says(store: Store) -> None:
    with store.transaction():
        whole = made.known_lease(store, 1)
        row = made.known_lease(store, 2, alike=whole.no, pattern=whole.raw)
    assert store.datasets.lease(row.id) == store.datasets.lease_by_no(row.no) == row
    assert store.datasets.leases([row.id, whole.id]) == [whole, row]
    assert store.datasets.live_on(1) == [whole, row]


def test_only_live_leases_end_and_expire(store: Store) -> None:
    with store.transaction():
        rows = [made.known_lease(store, number) for number in range(4)]
        store.datasets.end_leases([rows[0].no], "complete")
        store.datasets.end_leases((row.no for row in rows[:2]), "gone")
        store.datasets.end_leases([], "gone")
    states = [store.datasets.lease_by_no(row.no).state for row in rows]
    assert states == ["complete", "gone", "live", "live"]
    assert store.datasets.expired(1001) == []
    assert store.datasets.expired(1002) == [rows[2].no]
    assert store.datasets.live_on(1) == rows[2:]


def test_leases_that_ended_unanswered_are_found_among_the_newest(store: Store) -> None:
    with store.transaction():
        rows = [made.known_lease(store, number, tasks=10) for number in range(5)]
        store.datasets.end_leases((row.no for row in rows[:2]), "gone")
        store.datasets.end_leases([rows[2].no], "expired")
        store.datasets.end_leases([rows[3].no], "complete")
        store.datasets.answer({rows[1].no: 10, rows[2].no: 9})

    def found(dataset: int, newest: int, count_max: int) -> list[int]:
        return [one.no for one in store.datasets.unanswered_on(dataset, newest, count_max)]

    assert found(1, 99, 99) == [rows[0].no, rows[2].no]
    assert found(1, 99, 1) == [rows[2].no]
    assert found(1, 4, 99) == [rows[2].no]
    assert found(2, 99, 99) == []


def test_what_a_site_holds_is_what_its_live_leases_have_no_answer_for(store: Store) -> None:
    with store.transaction():
        rows = [made.known_lease(store, number, tasks=10) for number in range(3)]
        made.known_lease(store, 3, site=SiteName("south"), tasks=100)
        store.datasets.answer({rows[0].no: 4})
        store.datasets.answer({rows[0].no: 3})
        store.datasets.answer({rows[1].no: 12})  # more than it covers: a site may lie
        store.datasets.end_leases([rows[2].no], "expired")
    assert store.datasets.leased_by(NORTH) == 3
    assert store.datasets.leased_at(NORTH) == [(1, 3)]
    assert store.datasets.leased_by(SiteName("nobody")) == 0
    assert store.datasets.lease_by_no(rows[0].no).answered == 7


def test_live_leases_of_a_site_tell_in_which_bundle_they_went_out(store: Store) -> None:
    stream = StreamId(b"w" * 16)
    with store.transaction():
        out = made.bundle(1, kind="work", id=made.work(1).id, stream=stream, sequence=6)
        store.bundles.add_bundle(out)
        row = made.known_lease(store, 1)
        bare = made.known_lease(store, 2)  # whose bundle is not here
    assert store.datasets.live_of_site(NORTH) == [
        (row.no, out.id, stream, 6),
        (bare.no, bare.work, b"", 0),
    ]
