"""Segments, and in which blocks they have attempts: see `protocol.Segments`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bundle.ids import JOB_MAX
from central.store.connection import Connection, Found
from central.store.rows import BlockKey, SegmentRow, Span
from central.store.statements import statements
from central.store.text import storable

_SQL = statements("segments")
_COLUMNS = 15  # of a segment; a span's follow


class StoredSegments:
    """See `protocol.Segments`."""

    def __init__(self, connection: Connection) -> None:
        """Work on an open connection."""
        self._db = connection

    def known(self, digests: Collection[bytes]) -> set[bytes]:
        """See `protocol.Segments`."""
        return {row[0] for row in self._db.ask(_SQL["known"], digests)}

    def add(self, rows: Sequence[SegmentRow]) -> list[int]:
        """See `protocol.Segments`."""
        if not rows:
            return []
        flat = [
            (*row[:6], storable(row.batch_id), *row[7:12], int(row.complete), int(row.salvaged))
            for row in rows
        ]
        self._db.many(_SQL["add"], flat)
        numbers: dict[bytes, int] = dict(
            self._db.ask(_SQL["numbers"], [row.digest for row in rows])
        )
        spans = [
            (row.dataset, one.step, one.block, numbers[row.digest], one.job_min, one.job_max)
            for row in rows
            for one in row.spans
        ]
        self._db.many(_SQL["add_spans"], spans)
        return [numbers[row.digest] for row in rows]

    def touching(
        self, dataset: int, keys: Collection[BlockKey], first: int = 0, last: int = JOB_MAX
    ) -> list[tuple[SegmentRow, Span]]:
        """See `protocol.Segments`."""
        found = self._db.ask(_SQL["touching"], keys, (dataset, first, last))
        return [(_segment(row[:_COLUMNS]), Span(*row[_COLUMNS:])) for row in found]

    def of_leases(self, leases: Collection[int]) -> list[SegmentRow]:
        """See `protocol.Segments`."""
        return [_segment(row) for row in self._db.ask(_SQL["of_leases"], leases)]

    def with_spans(self, rows: Sequence[SegmentRow]) -> list[SegmentRow]:
        """See `protocol.Segments`."""
        spans: dict[int, list[Span]] = {row.no: [] for row in rows}
        for no, *span in self._db.ask(_SQL["spans"], spans.keys()):
            spans[no].append(Span(*span))
        return [row._replace(spans=tuple(spans[row.no])) for row in rows]

    def after(
        self, dataset: int, no: int, limit: int, unsuccessful: bool = False
    ) -> list[SegmentRow]:
        """See `protocol.Segments`."""
        name = "unsuccessful_after" if unsuccessful else "after"
        return self.with_spans(list(map(_segment, self._db.all(_SQL[name], (dataset, no, limit)))))

    def generation_max(self, dataset: int) -> int:
        """See `protocol.Segments`."""
        return int(self._db.value(_SQL["generation_max"], (dataset, dataset)))


def _segment(row: Found) -> SegmentRow:
    return SegmentRow._make((*row[:12], bool(row[12]), bool(row[13]), (), row[14]))
