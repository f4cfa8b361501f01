"""Datasets, controls, works and leases: see `protocol.Datasets`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from bundle import canonical
from bundle.ids import DIGEST_BYTES, BundleId, DatasetId, Epoch, LeaseId, SiteName, StreamId
from bundle.intervals import IntervalSet
from bundle.limits import STATE_LIMITS
from bundle.trust.signed import Signature
from central.core.facts import Control, ControlWord
from central.store.connection import Connection, Found
from central.store.kept import Kept
from central.store.regions import KeptRegions
from central.store.rows import DatasetRow, LeaseRow, WorkRow
from central.store.statements import statements
from central.store.text import storable

TOUCHED_BYTES_MAX = 1 << 20  # of jobs that something happened to, encoded: for lists of datasets

_SQL = statements("datasets") | statements("leases")


class StoredDatasets:
    """See `protocol.Datasets`."""

    def __init__(self, connection: Connection) -> None:
        """Work on an open connection."""
        self._db = connection
        self._regions = KeptRegions()
        self._touched = Kept(_touched, TOUCHED_BYTES_MAX)

    def document(self, digest: bytes) -> bytes | None:
        """See `protocol.Datasets`."""
        row = self._db.one(_SQL["document"], (digest,))
        return bytes(row[0]) if row else None

    def has_document(self, digest: bytes) -> bool:
        """See `protocol.Datasets`."""
        return self._db.one(_SQL["has_document"], (digest,)) is not None

    def add_document(self, digest: bytes, raw: bytes) -> None:
        """See `protocol.Datasets`."""
        self._db.run(_SQL["add_document"], (digest, raw))

    def datasets(self) -> list[DatasetRow]:
        """See `protocol.Datasets`."""
        return [self._dataset(row) for row in self._db.all(_SQL["datasets"])]

    def dataset(self, dataset: DatasetId) -> DatasetRow | None:
        """See `protocol.Datasets`."""
        row = self._db.one(_SQL["dataset"], (dataset,))
        return self._dataset(row) if row else None

    def dataset_by_no(self, no: int) -> DatasetRow:
        """See `protocol.Datasets`."""
        row = self._db.one(_SQL["dataset_by_no"], (no,))
        if row is None:
            raise LookupError(no)
        return self._dataset(row)

    def add_dataset(self, row: DatasetRow) -> int:
        """See `protocol.Datasets`."""
        name = storable(row.name)
        values = (row.id, row.digest, name, *row[4:8], _intervals(row.touched), int(row.crossed))
        return self._db.insert(_SQL["add_dataset"], values)

    def set_submitted(self, no: int, at_us: int) -> None:
        """See `protocol.Datasets`."""
        self._db.run(_SQL["set_submitted"], (at_us, no))

    def set_touched(self, no: int, touched: IntervalSet) -> None:
        """See `protocol.Datasets`."""
        self._db.run(_SQL["set_touched"], (_intervals(touched), no))

    def set_crossed(self, no: int) -> None:
        """See `protocol.Datasets`."""
        self._db.run(_SQL["set_crossed"], (no,))

    def set_document(self, row: DatasetRow) -> None:
        """See `protocol.Datasets`."""
        values = (row.digest, storable(row.name), row.jobs, row.tasks, row.no)
        self._db.run(_SQL["set_document"], values)

    def submitter(self, no: int) -> bytes:
        """See `protocol.Datasets`."""
        row = self._db.one(_SQL["submitter"], (no,))
        return bytes(row[0]) if row else b""

    def submitters(self) -> dict[int, bytes]:
        """See `protocol.Datasets`."""
        return {no: bytes(key) for no, key in self._db.all(_SQL["submitters"])}

    def set_submitter(self, no: int, key: bytes) -> None:
        """See `protocol.Datasets`."""
        self._db.run(_SQL["set_submitter"], (no, key))

    def cosignatures(self, document: bytes) -> list[Signature]:
        """See `protocol.Datasets`."""
        found = self._db.all(_SQL["cosignatures"], (document,))
        return [Signature(key, signature) for key, signature in found]

    def add_cosignatures(self, document: bytes, rows: Iterable[Signature]) -> None:
        """See `protocol.Datasets`."""
        self._db.many(
            _SQL["add_cosignatures"], [(document, one.key, one.signature) for one in rows]
        )

    def controls(self, no: int) -> list[Control]:
        """See `protocol.Datasets`."""
        return [self._control(row) for row in self._db.all(_SQL["controls"], (no,))]

    def controls_of(self, numbers: Collection[int]) -> dict[int, list[Control]]:
        """See `protocol.Datasets`."""
        found: dict[int, list[Control]] = {}
        for row in self._db.ask(_SQL["controls_of"], numbers):
            found.setdefault(row[0], []).append(self._control(row))
        return found

    def add_control(self, no: int, control: Control) -> None:
        """See `protocol.Datasets`."""
        where = (no, *control.epoch, control.commit)
        said = (control.word.value, self._regions.encode(control.regions), control.document)
        self._db.run(_SQL["add_control"], (*where, *said))

    def tombstones(self) -> list[DatasetId]:
        """See `protocol.Datasets`."""
        return [DatasetId(row[0]) for row in self._db.all(_SQL["tombstones"])]

    def work(self, bundle: BundleId) -> WorkRow | None:
        """See `protocol.Datasets`."""
        row = self._db.one(_SQL["work"], (bundle,))
        if row is None:
            return None
        raw = row[4]
        digests = (raw[at : at + DIGEST_BYTES] for at in range(0, len(raw), DIGEST_BYTES))
        return WorkRow(BundleId(row[0]), SiteName(row[1]), row[2], row[3], frozenset(digests))

    def add_work(self, row: WorkRow) -> None:
        """See `protocol.Datasets`."""
        self._db.run(_SQL["add_work"], (*row[:4], b"".join(sorted(row.chunks))))

    def lease(self, lease: LeaseId) -> LeaseRow | None:
        """See `protocol.Datasets`."""
        row = self._db.one(_SQL["lease"], (lease,))
        return _lease(row) if row else None

    def lease_by_no(self, no: int) -> LeaseRow:
        """See `protocol.Datasets`."""
        for row in self.leases_by_no([no]):
            return row
        raise LookupError(no)

    def leases_by_no(self, numbers: Collection[int]) -> list[LeaseRow]:
        """See `protocol.Datasets`."""
        return [_lease(row) for row in self._db.ask(_SQL["leases_by_no"], numbers)]

    def leases(self, ids: Collection[LeaseId]) -> list[LeaseRow]:
        """See `protocol.Datasets`."""
        return [_lease(row) for row in self._db.ask(_SQL["leases_by_id"], ids)]

    def live_on(self, dataset: int) -> list[LeaseRow]:
        """See `protocol.Datasets`."""
        return [_lease(row) for row in self._db.all(_SQL["live_on"], (dataset,))]

    def unanswered_on(self, dataset: int, newest: int, count_max: int) -> list[LeaseRow]:
        """See `protocol.Datasets`."""
        found = self._db.all(_SQL["unanswered_on"], (newest, dataset, count_max))
        return self.leases_by_no([no for (no,) in found])

    def add_leases(self, rows: Sequence[LeaseRow]) -> list[int]:
        """See `protocol.Datasets`."""
        works = {one: self._db.value(_SQL["work_number"], (one,)) for one in {r.work for r in rows}}
        flat = [(*row[1:4], works[row.work], *row[5:7], "live", *row[8:12]) for row in rows]
        self._db.many(_SQL["add_leases"], flat)
        found: dict[bytes, int] = dict(
            self._db.ask(_SQL["lease_numbers"], [row.id for row in rows])
        )
        return [found[row.id] for row in rows]

    def answer(self, counts: Mapping[int, int]) -> None:
        """See `protocol.Datasets`."""
        self._db.change(_SQL["answer"], list(counts.items()))

    def leased_at(self, site: SiteName) -> list[tuple[int, int]]:
        """See `protocol.Datasets`."""
        return [(no, int(tasks)) for no, tasks in self._db.all(_SQL["leased_at"], (site,))]

    def leased_by(self, site: SiteName) -> int:
        """See `protocol.Datasets`."""
        return int(self._db.value(_SQL["leased_by"], (site,)))

    def expired(self, now_us: int) -> list[int]:
        """See `protocol.Datasets`."""
        return [row[0] for row in self._db.all(_SQL["expired"], (now_us,))]

    def live_of_site(self, site: SiteName) -> list[tuple[int, BundleId, StreamId, int]]:
        """See `protocol.Datasets`."""
        found = self._db.all(_SQL["live_of_site"], (site,))
        return [
            (no, BundleId(work), StreamId(stream or b""), sequence or 0)
            for no, work, stream, sequence in found
        ]

    def end_leases(self, numbers: Iterable[int], state: str) -> None:
        """See `protocol.Datasets`."""
        self._db.change(_SQL["end_leases"], list(numbers), (state,))

    def _dataset(self, row: Found) -> DatasetRow:
        return DatasetRow._make((*row[:8], self._touched.of(bytes(row[8])), bool(row[9])))

    def _control(self, row: Found) -> Control:
        _, word, raw, counter, nonce, commit, document = row
        regions = self._regions.decode(bytes(raw))
        return Control(ControlWord(word), regions, Epoch(counter, nonce), commit, bytes(document))


def _touched(raw: bytes) -> IntervalSet:
    return IntervalSet.from_wire(canonical.decode(raw, STATE_LIMITS, where="touched"))


def _lease(row: Found) -> LeaseRow:
    return LeaseRow._make((*row[:-1], row[-1] or b""))


def _intervals(touched: IntervalSet) -> bytes:
    return canonical.encode(touched.to_wire())
