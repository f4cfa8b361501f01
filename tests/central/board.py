"""A dataset in a real store, joined to directly, without bundles."""

from __future__ import annotations

import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from bundle.dataset import spec
from bundle.dataset.spec import Dataset
from bundle.digest import chunk_digest
from bundle.ids import BundleId, Epoch, LeaseId, PilotRun, SiteName
from bundle.records import lease as leases
from bundle.records import segment as segments
from bundle.records.attempt import Attempt
from bundle.records.lease import Lease
from bundle.records.segment import Host, Segment, SegmentHeader, segment_digest
from bundle.wire.entries import SegmentEntry
from central import arriving
from central.core import segment_decode
from central.core.controls import Controls
from central.core.dag import Dag
from central.core.facts import AttemptFact, Control, Pin, Place, TaskRow
from central.found import FoundLease, FoundSegment
from central.joining import Joining
from central.state.examining import Examination
from central.state.reading import Reading
from central.state.recall import Recall
from central.store.protocol import Store
from central.store.rows import DatasetRow, LeaseRow, WorkRow
from tests.central.memory import DATASET, EPOCH

HOST = Host("node", "linux", "cpu", 1, 1024, "boot", "3.11", "test", "none: test")
WORK = BundleId("0" * 64)
SITE = SiteName("north")


class Board:
    """See the module. What is joined is never read from an archive: its columns are kept."""

    def __init__(self, store: Store, document: Dataset, edited: Iterable[Dataset] = ()) -> None:
        self.store = store
        self.dag = Dag(document, spec.dataset_digest(spec.encode(document)))
        several = [Dag(one, spec.dataset_digest(spec.encode(one))) for one in edited]
        self.documents = {one.digest: one for one in (self.dag, *several)}
        self.epoch, self.signer, self.version = EPOCH, None, 0
        self.recall = Recall(cast(Any, self))
        self.archive: Any = None
        self._leases: dict[bytes, Lease] = {}
        with store.transaction():
            store.datasets.add_document(self.dag.digest, spec.encode(document))
            fresh = DatasetRow(
                0, DATASET, self.dag.digest, "board", document.jobs, len(document.steps),
                document.tasks(), 1,
            )  # fmt: skip
            self.no = store.datasets.add_dataset(fresh)

    # what a Joining asks of its workings
    def dag_of(self, digest: bytes) -> Dag:
        return self.documents[digest]

    def controls(self, row: DatasetRow) -> Controls:
        return Controls(self.store.datasets.controls(row.no), self.documents[row.digest].tasks)

    def lease(self, row: LeaseRow) -> Lease:
        return self._leases[row.id]

    @property
    def row(self) -> DatasetRow:
        return self.store.datasets.dataset_by_no(self.no)

    def know_lease(self, lease: Lease) -> None:
        """Know a lease that no longer lives, so that results may answer it."""
        self._leases[lease.lease] = lease
        raw = leases.encode(lease)
        about = (self.no, chunk_digest("lease", raw), WORK, SITE, 2**62, "expired", raw)
        with self.store.transaction():
            row = LeaseRow(0, lease.lease, *about, tasks=lease.count())
            self.store.datasets.add_work(WorkRow(WORK, SITE, 1, 0, frozenset()))
            self.store.datasets.end_leases(self.store.datasets.add_leases([row]), "expired")

    def add_lease(self, lease: Lease) -> None:
        """Learn a lease."""
        self._leases[lease.lease] = lease
        with self.store.transaction():
            joining = Joining(self._workings(), live=False)
            self._learn(joining, lease)
            joining.finish(0)

    def end_leases(self, wanted: Iterable[bytes]) -> None:
        """End leases."""
        with self.store.transaction():
            joining = Joining(self._workings(), live=False)
            rows = [self.store.datasets.lease(LeaseId(one)) for one in wanted]
            joining.end_leases([row.no for row in rows if row is not None], "expired")
            joining.finish(0)

    def join(
        self,
        segs: Sequence[tuple[LeaseId, PilotRun, Sequence[Attempt]]] = (),
        pins: Iterable[Pin] = (),
        controls: Iterable[Control] = (),
    ) -> None:
        """Join facts in one transaction for controls and one for the rest."""
        for control in controls:
            with self.store.transaction():
                joining = Joining(self._workings(), live=False)
                joining.add_control(self.row, control)
                joining.finish(0)
        with self.store.transaction():
            joining = Joining(self._workings(), live=False)
            found = [self._found(*one) for one in segs]
            known = self.store.segments.known([one.entry.digest for one in found])
            fresh = {one.entry.digest: one for one in found if one.entry.digest not in known}
            arriving.join_segments(
                self._workings(),
                joining,
                list(fresh.values()),
                cast(Any, types.SimpleNamespace(no=0)),
            )
            joining.add_pins(self.row, pins)
            joining.finish(0)

    def facts(
        self, segs: Sequence[tuple[LeaseId, PilotRun, Sequence[Attempt]]]
    ) -> list[AttemptFact]:
        """The same attempts as the merge of rows takes them."""
        from central.core.facts import attempt_fact

        return [
            attempt_fact(one, lease, run, dict(self._leases[lease].spec_hashes)[one.step])
            for lease, run, attempts in segs
            for one in attempts
        ]

    def problems(self) -> list[str]:
        """What a close look finds wrong beside the bytes."""
        return list(Examination(self._workings(), self.row).problems())

    def rows(self) -> dict[Place, TaskRow]:
        return {row.place: row for row in Reading(self._workings(), self.row).every_row()}

    def _workings(self) -> Any:
        return _Workings(self)

    def _learn(self, joining: Joining, lease: Lease) -> None:
        raw = leases.encode(lease)
        work = WorkRow(WORK, SITE, 1, 0, frozenset())
        joining.learn_leases([FoundLease(lease, raw, chunk_digest("lease", raw), work)])

    def _found(self, lease: LeaseId, run: PilotRun, attempts: Sequence[Attempt]) -> FoundSegment:
        header = SegmentHeader(run, lease, DATASET, self.dag.digest, WORK, 0, 1, HOST)
        raw = segments.encode(Segment(header, tuple(attempts), complete=False))
        entry = SegmentEntry(
            segment_digest(raw), run, b"k" * 32, b"s" * 64, "batch", lease, WORK, False
        )
        return FoundSegment(entry, segment_decode.decode(raw), 0)


class _Workings:
    """What a join asks for, looked up on a board."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.store, self.recall = board.store, board.recall
        self.epoch, self.signer, self.version = EPOCH, None, 0
        self.stirred: set[int] = set()

    def dag(self, digest: bytes) -> Dag:
        return self._board.documents[digest]

    def controls(self, row: DatasetRow) -> Controls:
        return self._board.controls(row)

    def lease(self, row: LeaseRow) -> Lease:
        return self._board.lease(row)

    def stir(self, *datasets: int) -> None:
        self.stirred.update(datasets)

    def keep_lease(self, digest: bytes, lease: Lease, size_bytes: int) -> None:
        del digest, lease, size_bytes  # the board knows them all


def store_in(folder: Path) -> Store:
    """A SQLite store in a folder."""
    from central.store.sqlite import SqliteStore

    found = SqliteStore(folder / "pulk.sqlite")
    found.database.execute("PRAGMA synchronous=OFF")  # order is what counts here
    return found


def epoch() -> Epoch:
    return EPOCH
