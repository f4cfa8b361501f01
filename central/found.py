"""What a verified bundle brings: leases, documents, segments, files; nothing of it joined yet."""

from __future__ import annotations

from dataclasses import dataclass, field

from bundle.ids import BundleId, LeaseId
from bundle.records.lease import Lease
from bundle.wire.entries import SegmentEntry
from central.core.segment_columns import SegmentColumns
from central.store.rows import FileRow, WorkRow


@dataclass(frozen=True, slots=True)
class FoundLease:
    """A lease and the work manifest that lists its chunk."""

    lease: Lease
    raw: bytes
    digest: bytes
    work: WorkRow

    def told(self) -> bytes:
        """Return when which document was leased from: the greatest is the newest."""
        return self.work.created_us.to_bytes(8, "big") + self.lease.dataset_digest


@dataclass(frozen=True, slots=True)
class FoundSegment:
    """A segment that is new here, and its attempts as columns."""

    entry: SegmentEntry
    columns: SegmentColumns
    place: int


@dataclass(slots=True)
class Found:
    """What a bundle brings."""

    works: dict[BundleId, WorkRow] = field(default_factory=dict)
    documents: dict[bytes, bytes] = field(default_factory=dict)
    leases: dict[LeaseId, FoundLease] = field(default_factory=dict)
    segments: list[FoundSegment] = field(default_factory=list)
    files: list[FileRow] = field(default_factory=list)  # number of the bundle still 0
