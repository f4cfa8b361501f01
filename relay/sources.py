"""Reading accepted work bundles: verified once a tick, one chunk at a time."""

from __future__ import annotations

from types import TracebackType

from bundle.ids import LEASE_ID_BYTES, BundleId, LeaseId
from bundle.records import lease as leases
from bundle.records.lease import Lease
from bundle.spool.layout import Spool
from bundle.trust.trust_file import TrustView
from bundle.wire.errors import NoSuchChunk
from bundle.wire.manifest import ChunkEntry, Kind
from bundle.wire.read import OpenBundle, open_bundle


class Sources:
    """Opens work bundles when first needed and keeps them open; a context manager."""

    def __init__(self, spool: Spool, trust: TrustView, site: str) -> None:
        """Open nothing yet."""
        self._spool, self._trust, self._site = spool, trust, site
        self._open: dict[BundleId, OpenBundle] = {}
        self._leases: dict[LeaseId, Lease] = {}
        self._lease_places: dict[BundleId, dict[LeaseId, int]] = {}

    def __enter__(self) -> Sources:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for bundle in self._open.values():
            bundle.close()
        self._open.clear()

    def bundle(self, work: BundleId) -> OpenBundle:
        """Return the open work bundle. Raises BundleRefused."""
        if work not in self._open:
            path = self._spool.work_bundle(work)
            kinds = frozenset({Kind.WORK})
            self._open[work] = open_bundle(path, self._trust, audience=self._site, kinds=kinds)
        return self._open[work]

    def lease(self, work: BundleId, lease: LeaseId) -> Lease:
        """Return a lease of a work bundle. Raises BundleRefused, NoSuchChunk, WrongShape."""
        if lease not in self._leases:
            _, place = self.lease_chunk(work, lease)
            self._leases[lease] = leases.decode(self.bundle(work).chunk(place))
        return self._leases[lease]

    def lease_chunk(self, work: BundleId, lease: LeaseId) -> tuple[ChunkEntry, int]:
        """Return the entry and place of a lease's chunk."""
        place = self._place(work, lease)
        return self.bundle(work).manifest.chunks[place], place

    def dataset_chunk(self, work: BundleId, digest: bytes) -> tuple[ChunkEntry, int]:
        """Return the entry and place of a dataset document's chunk. Raises NoSuchChunk."""
        bundle = self.bundle(work)
        for place in bundle.find("dataset"):
            entry = bundle.manifest.chunks[place]
            if entry.digest == digest:
                return entry, place
        raise NoSuchChunk(where=str(bundle.path), kind="dataset", name=digest.hex())

    def _place(self, work: BundleId, lease: LeaseId) -> int:
        if work not in self._lease_places:
            bundle = self.bundle(work)
            entries = bundle.manifest.chunks
            # A name is data: it is a hint that saves reading every lease of a large bundle.
            self._lease_places[work] = {
                _named(entries[place].name) or leases.decode(bundle.chunk(place)).lease: place
                for place in bundle.find("lease")
            }
        found = self._lease_places[work].get(lease)
        if found is None:
            raise NoSuchChunk(where=str(self.bundle(work).path), kind="lease", name=lease.hex())
        return found


def _named(name: str) -> LeaseId | None:
    try:
        lease = bytes.fromhex(name)
    except ValueError:
        return None
    return LeaseId(lease) if len(lease) == LEASE_ID_BYTES else None
