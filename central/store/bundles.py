"""Bundles, streams and sites: see `protocol.Bundles`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bundle import canonical, shape
from bundle.ids import BundleId, Epoch, SiteName, StreamId
from bundle.limits import STATE_LIMITS
from bundle.records import receipt as receipts
from bundle.records.receipt import StreamReceipt
from central.core.newest import Marks
from central.store.connection import Connection
from central.store.rows import BundleRow, SiteRow
from central.store.statements import statements
from central.store.text import storable

_SQL = statements("bundles")
PAGE = 1000  # rows that are held at once while all are gone through


class StoredBundles:
    """See `protocol.Bundles`."""

    def __init__(self, connection: Connection) -> None:
        """Work on an open connection."""
        self._db = connection

    def bundle(self, bundle: BundleId) -> BundleRow | None:
        """See `protocol.Bundles`."""
        row = self._db.one(_SQL["bundle"], (bundle,))
        return _bundle(row) if row else None

    def page(self, before: int, limit: int, site: str, kind: str, outcome: str) -> list[BundleRow]:
        """See `protocol.Bundles`."""
        asked = (before, site, site, site, kind, kind, outcome, outcome, limit)
        return [_bundle(row) for row in self._db.all(_SQL["page"], asked)]

    def bundle_id(self, no: int) -> BundleId:
        """See `protocol.Bundles`."""
        return BundleId(self._db.value(_SQL["bundle_by_no"], (no,)))

    def add_bundle(self, row: BundleRow) -> int:
        """See `protocol.Bundles`."""
        epoch = row.epoch or Epoch(0, b"")
        values = (*row[:4], row.stream, row.sequence, epoch.counter, epoch.nonce, *row[7:13])
        said = (storable(row.text), int(row.safe), storable(row.missing))
        return self._db.insert(_SQL["add_bundle"], (*values, *said))

    def set_outcome(
        self, no: int, outcome: str, code: str, text: str, *, safe: bool, missing: str = ""
    ) -> None:
        """See `protocol.Bundles`."""
        said = (outcome, code, storable(text), int(safe), storable(missing))
        self._db.run(_SQL["set_outcome"], (*said, no))

    def merged_ids(self) -> set[BundleId]:
        """See `protocol.Bundles`."""
        return {BundleId(row[0]) for row in self._db.all(_SQL["ids"])}

    def parked(self) -> list[BundleRow]:
        """See `protocol.Bundles`."""
        return [_bundle(row) for row in self._db.all(_SQL["parked"])]

    def unsafe(self) -> list[BundleRow]:
        """See `protocol.Bundles`."""
        return [_bundle(row) for row in self._db.all(_SQL["unsafe"])]

    def merged(self) -> Iterator[BundleRow]:
        """See `protocol.Bundles`."""
        last = 0
        while page := self._db.all(_SQL["merged"], (last, PAGE)):
            yield from map(_bundle, page)
            last = page[-1][-1]

    def kinds(self) -> list[tuple[str, bool, str, int]]:
        """See `protocol.Bundles`."""
        return [(kind, bool(has), out, n) for kind, has, out, n in self._db.all(_SQL["kinds"])]

    def head(self, epoch: Epoch) -> int:
        """See `protocol.Bundles`."""
        return int(self._db.value(_SQL["head"], tuple(epoch)))

    def commits_to(self, epoch: Epoch, commit: int) -> list[BundleRow]:
        """See `protocol.Bundles`."""
        found = self._db.all(_SQL["commits_to"], (*epoch, commit))
        return [_bundle(row) for row in found]

    def epoch_max(self) -> int:
        """See `protocol.Bundles`."""
        return int(self._db.value(_SQL["epoch_max"]))

    def last_of_stream(self, stream: StreamId) -> tuple[int, BundleId] | None:
        """See `protocol.Bundles`."""
        row = self._db.one(_SQL["last_of_stream"], (stream,))
        return (row[0], BundleId(row[1])) if row else None

    def rivals(self, row: BundleRow) -> list[BundleId]:
        """See `protocol.Bundles`."""
        found = self._db.all(_SQL["rivals"], (row.stream, row.sequence, row.id))
        return [BundleId(one[0]) for one in found]

    def of_commit(self, epoch: Epoch, commit: int) -> list[BundleId]:
        """See `protocol.Bundles`."""
        found = self._db.all(_SQL["of_commit"], (epoch.counter, epoch.nonce, commit))
        return [BundleId(one[0]) for one in found]

    def receipts(self, producer: str) -> list[StreamReceipt]:
        """See `protocol.Bundles`."""
        found = self._db.all(_SQL["receipts"], (producer,))
        return [_receipt(raw) for _, raw in found]

    def receipt(self, stream: StreamId) -> StreamReceipt:
        """See `protocol.Bundles`."""
        row = self._db.one(_SQL["receipt"], (stream,))
        return _receipt(row[0]) if row else StreamReceipt(stream)

    def save_receipt(self, producer: str, receipt: StreamReceipt) -> None:
        """See `protocol.Bundles`."""
        raw = canonical.encode(receipts.to_wire(receipt))
        self._db.run(_SQL["save_receipt"], (receipt.stream, producer, raw))

    def tally(self, name: str) -> None:
        """See `protocol.Bundles`."""
        self._db.run(_SQL["tally"], (name,))

    def tallies(self) -> dict[str, int]:
        """See `protocol.Bundles`."""
        return dict(self._db.all(_SQL["tallies"]))

    def site(self, name: SiteName) -> SiteRow:
        """See `protocol.Bundles`."""
        row = self._db.one(_SQL["site"], (name,))
        return _site(row) if row else SiteRow(name, b"", 0, b"", (), b"", (), 0, 0)

    def sites(self) -> list[SiteRow]:
        """See `protocol.Bundles`."""
        return [_site(row) for row in self._db.all(_SQL["sites"])]

    def enrol(self, name: SiteName, key: bytes, at_us: int) -> None:
        """See `protocol.Bundles`."""
        self._db.run(_SQL["enrol"], (name, key, at_us))

    def set_report(self, name: SiteName, raw: bytes, marks: Marks) -> None:
        """See `protocol.Bundles`."""
        self._meet(name)
        self._db.run(_SQL["set_report"], (raw, _raw(marks), name))

    def set_received(self, name: SiteName, raw: bytes, marks: Marks) -> None:
        """See `protocol.Bundles`."""
        self._meet(name)
        self._db.run(_SQL["set_received"], (raw, _raw(marks), name))

    def add_news(self, name: SiteName) -> None:
        """See `protocol.Bundles`."""
        self._meet(name)
        self._db.run(_SQL["add_news"], (name,))

    def set_told(self, name: SiteName) -> None:
        """See `protocol.Bundles`."""
        self._db.run(_SQL["set_told"], (name,))

    def _meet(self, name: SiteName) -> None:
        self._db.run(_SQL["meet"], (name,))


def _bundle(row: tuple[Any, ...]) -> BundleRow:
    epoch = Epoch(row[6], row[7]) if row[7] else None
    return BundleRow._make(
        (*row[:4], StreamId(row[4]), row[5], epoch, *row[8:15], bool(row[15]), *row[16:])
    )


def _receipt(raw: bytes) -> StreamReceipt:
    value = canonical.decode(raw, STATE_LIMITS, where="receipt")
    return receipts.from_wire(shape.Reader.of(value, "receipt"))


def _site(row: tuple[Any, ...]) -> SiteRow:
    name, key, enrolled_us, report, reported, received, receiving, told, news = row
    site = SiteName(name)
    return SiteRow(
        site, key, enrolled_us, report, _marks(reported), received, _marks(receiving), told, news
    )


def _raw(marks: Marks) -> bytes:
    return canonical.encode([list(one) for one in marks])


def _marks(raw: bytes) -> Marks:
    rows = canonical.decode(raw, STATE_LIMITS, where="site") if raw else ()
    return tuple((StreamId(stream), sequence) for stream, sequence in rows)
