"""Datasets, controls, works, leases and segments, in SQLite."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlite_utils import Database

from bundle import canonical
from bundle.ids import DIGEST_BYTES, BundleId, DatasetId, Epoch, LeaseId, SiteName, StreamId
from bundle.intervals import IntervalSet
from bundle.limits import STATE_LIMITS
from bundle.trust.signed import Signature
from central.core.facts import Control, ControlWord
from central.store import wanted
from central.store.queries import queries
from central.store.rows import DatasetRow, LeaseRow, SegmentRow, WorkRow

_SQL = queries("datasets")


class SqliteDatasets:
    """See `protocol.Datasets`."""

    def __init__(self, database: Database) -> None:
        """Work on an open database."""
        self._db = database

    def document(self, digest: bytes) -> bytes | None:
        """See `protocol.Datasets`."""
        row = self._db.execute(_SQL["document"], (digest,)).fetchone()
        return bytes(row[0]) if row else None

    def has_document(self, digest: bytes) -> bool:
        """See `protocol.Datasets`."""
        return self._db.execute(_SQL["has_document"], (digest,)).fetchone() is not None

    def add_document(self, digest: bytes, raw: bytes) -> None:
        """See `protocol.Datasets`."""
        self._db.execute(_SQL["add_document"], (digest, raw))

    def datasets(self) -> list[DatasetRow]:
        """See `protocol.Datasets`."""
        return [_dataset(row) for row in self._db.execute(_SQL["datasets"]).fetchall()]

    def dataset(self, dataset: DatasetId) -> DatasetRow | None:
        """See `protocol.Datasets`."""
        row = self._db.execute(_SQL["dataset"], (dataset,)).fetchone()
        return _dataset(row) if row else None

    def dataset_by_no(self, no: int) -> DatasetRow:
        """See `protocol.Datasets`."""
        return _dataset(self._db.execute(_SQL["dataset_by_no"], (no,)).fetchone())

    def add_dataset(self, row: DatasetRow) -> int:
        """See `protocol.Datasets`."""
        values = (*row[1:8], canonical.encode(row.touched.to_wire()))
        return int(self._db.execute(_SQL["add_dataset"], values).lastrowid or 0)

    def set_submitted(self, no: int, at_us: int) -> None:
        """See `protocol.Datasets`."""
        self._db.execute(_SQL["set_submitted"], (at_us, no))

    def submitter(self, no: int) -> bytes:
        """See `protocol.Datasets`."""
        row = self._db.execute(_SQL["submitter"], (no,)).fetchone()
        return bytes(row[0]) if row else b""

    def set_submitter(self, no: int, key: bytes) -> None:
        """See `protocol.Datasets`."""
        self._db.execute(_SQL["set_submitter"], (no, key))

    def cosignatures(self, document: bytes) -> list[Signature]:
        """See `protocol.Datasets`."""
        found = self._db.execute(_SQL["cosignatures"], (document,)).fetchall()
        return [Signature(key, signature) for key, signature in found]

    def add_cosignatures(self, document: bytes, rows: Iterable[Signature]) -> None:
        """See `protocol.Datasets`."""
        values = [(document, one.key, one.signature) for one in rows]
        self._db.conn.executemany(_SQL["add_cosignature"], values)

    def controls(self, no: int) -> list[Control]:
        """See `protocol.Datasets`."""
        found = self._db.execute(_SQL["controls"], (no,)).fetchall()
        return [
            Control(ControlWord(word), _regions(raw), Epoch(counter, nonce), commit)
            for word, raw, counter, nonce, commit in found
        ]

    def add_control(self, no: int, control: Control) -> None:
        """See `protocol.Datasets`."""
        regions = control.regions
        rows = None if regions is None else [[step, jobs.to_wire()] for step, jobs in regions]
        values = (no, *control.epoch, control.commit, control.word.value, canonical.encode(rows))
        self._db.execute(_SQL["add_control"], values)

    def tombstones(self) -> list[DatasetId]:
        """See `protocol.Datasets`."""
        return [DatasetId(row[0]) for row in self._db.execute(_SQL["tombstones"]).fetchall()]

    def work(self, bundle: BundleId) -> WorkRow | None:
        """See `protocol.Datasets`."""
        row = self._db.execute(_SQL["work"], (bundle,)).fetchone()
        if row is None:
            return None
        raw = row[4]
        digests = (raw[at : at + DIGEST_BYTES] for at in range(0, len(raw), DIGEST_BYTES))
        return WorkRow(BundleId(row[0]), SiteName(row[1]), row[2], row[3], frozenset(digests))

    def add_work(self, row: WorkRow) -> None:
        """See `protocol.Datasets`."""
        self._db.execute(_SQL["add_work"], (*row[:4], b"".join(sorted(row.chunks))))

    def lease(self, lease: LeaseId) -> LeaseRow | None:
        """See `protocol.Datasets`."""
        row = self._db.execute(_SQL["lease"], (lease,)).fetchone()
        return LeaseRow(*row) if row else None

    def add_lease(self, row: LeaseRow) -> int:
        """See `protocol.Datasets`."""
        values = (*row[1:7], row.raw)
        return int(self._db.execute(_SQL["add_lease"], values).lastrowid or 0)

    def expired(self, now_us: int) -> list[int]:
        """See `protocol.Datasets`."""
        return [row[0] for row in self._db.execute(_SQL["expired"], (now_us,)).fetchall()]

    def live_of_site(self, site: SiteName) -> list[tuple[int, BundleId, StreamId, int]]:
        """See `protocol.Datasets`."""
        return self._db.execute(_SQL["live_of_site"], (site,)).fetchall()

    def live_on(self, dataset: int) -> list[LeaseRow]:
        """See `protocol.Datasets`."""
        return [LeaseRow(*row) for row in self._db.execute(_SQL["live_on"], (dataset,)).fetchall()]

    def end_leases(self, numbers: Iterable[int], state: str) -> None:
        """See `protocol.Datasets`."""
        self._db.conn.executemany(_SQL["end_lease"], [(state, no) for no in numbers])

    def known_segments(self, digests: Collection[bytes]) -> set[bytes]:
        """See `protocol.Datasets`."""
        with wanted.digests(self._db, digests):
            return {row[0] for row in self._db.execute(_SQL["segments"])}

    def add_segment(self, row: SegmentRow) -> int:
        """See `protocol.Datasets`."""
        values = (*row[:7], int(row.complete), int(row.salvaged))
        return int(self._db.execute(_SQL["add_segment"], values).lastrowid or 0)


def _dataset(row: tuple[Any, ...]) -> DatasetRow:
    touched = canonical.decode(row[8], STATE_LIMITS, where="touched")
    return DatasetRow._make((*row[:8], IntervalSet.from_wire(touched)))


def _regions(raw: bytes) -> tuple[tuple[int, IntervalSet], ...] | None:
    rows = canonical.decode(raw, STATE_LIMITS, where="control")
    if rows is None:
        return None
    return tuple((step, IntervalSet.from_wire(runs)) for step, runs in rows)
