"""Reading a verified bundle into facts: everything is checked here, nothing is changed.

A result bundle explains itself: the work manifest that central signed, the lease chunks that it
lists, and the dataset documents travel in it, so that a central that forgot them learns them again.
"""

from __future__ import annotations

from collections.abc import Iterable

from bundle.errors import PulkError
from bundle.ids import BundleId, LeaseId, SiteName
from bundle.records import lease as leases
from bundle.records.lease import Lease
from bundle.wire import files
from bundle.wire.entries import PIECE
from bundle.wire.manifest import ChunkEntry, Kind, Manifest
from bundle.wire.read import OpenBundle, verify_envelope
from central.errors import MalformedContent
from central.found import Found, FoundLease
from central.holding import read_segments
from central.store.rows import FileRow, WorkRow
from central.workings import Workings

RECORDS = frozenset({"work-manifest", "lease", "dataset", "segment"})
LISTED = frozenset({"lease", "dataset"})


def read_result(workings: Workings, bundle: OpenBundle) -> Found:
    """Return what a result bundle brings.

    Raises:
        MissingLease, MissingDataset: it rests on what has not arrived (Parkable).
        ForeignLease, OutsideLease, TooManyAttempts, MalformedContent: it is refused.
        BundleRefused: a chunk is damaged.
    """
    found = Found()
    _read_records(workings, bundle, found)
    read_segments(workings, bundle, found)
    for place, entry in enumerate(bundle.manifest.chunks):
        if entry.kind not in RECORDS and entry.kind != PIECE:
            bundle.check_chunk(place)
    found.files = _read_files(bundle)
    return found


def look_again(workings: Workings, found: Found) -> None:
    """Drop segments that another process brought in since they were read; in the transaction."""
    if workings.is_shared:
        known = workings.store.segments.known([one.entry.digest for one in found.segments])
        found.segments = [one for one in found.segments if one.entry.digest not in known]


def read_data(bundle: OpenBundle) -> list[FileRow]:
    """Return the files that a data bundle brings. Raises BundleRefused."""
    for place, entry in enumerate(bundle.manifest.chunks):
        if entry.kind != PIECE:
            bundle.check_chunk(place)
    return _read_files(bundle)


def _read_files(bundle: OpenBundle) -> list[FileRow]:
    """Return the files of a bundle; pieces must make what they are named for."""
    found = [
        file
        for place in range(len(bundle.manifest.chunks))
        if (file := files.file_at(bundle.manifest, place)) is not None
    ]
    for file in found:
        if bundle.manifest.chunks[file.places[0]].kind == PIECE:
            files.check_file(bundle, file)
    return [FileRow(file.digest, 0, file.places[0], file.size_bytes) for file in found]


def read_work(bundle: OpenBundle) -> Found:
    """Return what one of central's own work bundles brings."""
    found = Found()
    manifest = bundle.manifest
    work = work_row(bundle.id, manifest)
    found.works[bundle.id] = work
    for place, entry in enumerate(manifest.chunks):
        if entry.kind == "dataset":
            found.documents[entry.digest] = bundle.chunk(place)
        elif entry.kind == "lease":
            raw = bundle.chunk(place)
            lease = _lease(bundle, raw)
            found.leases[lease.lease] = FoundLease(lease, raw, entry.digest, work)
    return found


def work_row(bundle: BundleId, manifest: Manifest) -> WorkRow:
    """Return what is kept of a work manifest."""
    listed = frozenset(entry.digest for entry in manifest.chunks if entry.kind in LISTED)
    site = SiteName(manifest.audience)
    return WorkRow(bundle, site, manifest.created_us, manifest.lifetime_ms, listed)


def _read_records(workings: Workings, bundle: OpenBundle, found: Found) -> None:
    """Take work manifests, documents, and leases that a work manifest lists.

    What is known already is checked for damage and passed over: its first copy was verified.
    """
    store, chunks = workings.store.datasets, bundle.manifest.chunks
    for place in bundle.find("work-manifest"):
        if store.work(BundleId(chunks[place].name)) is not None:
            bundle.check_chunk(place)
            continue
        where = f"{bundle.path} work manifest"
        kinds = frozenset({Kind.WORK})
        raw = bundle.chunk(place)
        work, manifest = verify_envelope(raw, workings.trust, kinds, where=where)
        found.works[work] = work_row(work, manifest)
    for place in bundle.find("dataset"):
        if store.has_document(chunks[place].digest):
            bundle.check_chunk(place)
        else:
            found.documents[chunks[place].digest] = bundle.chunk(place)
    works = dict(found.works)
    brought = {BundleId(chunks[place].name) for place in bundle.find("work-manifest")}
    for name in (brought | {entry.work for entry in bundle.manifest.segments}) - works.keys():
        known = store.work(name)
        if known is not None:
            works[name] = known
    listed = bundle.find("lease")
    known_leases = _known_leases(workings, [chunks[place] for place in listed])
    for place in listed:
        entry = chunks[place]
        if entry.digest in known_leases:
            bundle.check_chunk(place)
            continue
        raw = bundle.chunk(place)
        lease = _lease(bundle, raw)
        work_of = next((one for one in works.values() if entry.digest in one.chunks), None)
        if work_of is not None:
            found.leases[lease.lease] = FoundLease(lease, raw, entry.digest, work_of)


def _known_leases(workings: Workings, entries: Iterable[ChunkEntry]) -> set[bytes]:
    """Return the digests of lease chunks that are known; their names are hints where to look."""
    named = set()
    for entry in entries:
        try:
            named.add(LeaseId(bytes.fromhex(entry.name)))
        except ValueError:
            continue
    return {row.digest for row in workings.store.datasets.leases(named)}


def _lease(bundle: OpenBundle, raw: bytes) -> Lease:
    try:
        return leases.decode(raw)
    except PulkError as error:
        raise MalformedContent(where=str(bundle.path), reason=error.text()) from error
