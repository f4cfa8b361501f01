"""Reading a verified bundle into facts: everything is checked here, nothing is changed.

A result bundle explains itself: the work manifest that central signed, the lease chunks that it
lists, and the dataset documents travel in it, so that a central that forgot them learns them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from bundle.errors import PulkError
from bundle.ids import BundleId, LeaseId, SiteName
from bundle.limits import ATTEMPTS_PER_BUNDLE_MAX
from bundle.records import lease as leases
from bundle.records.lease import Lease
from bundle.wire import files
from bundle.wire.entries import PIECE, SegmentEntry
from bundle.wire.errors import BundleRefused
from bundle.wire.manifest import ChunkEntry, Kind, Manifest
from bundle.wire.read import OpenBundle, verify_envelope
from central.core import segment_decode, segments_together
from central.core.dag import Dag
from central.core.segment_columns import Numbers, SegmentColumns
from central.core.state_byte import Mask, inside
from central.errors import (
    ForeignLease,
    MalformedContent,
    MissingDataset,
    MissingLease,
    OutsideLease,
    TooManyAttempts,
)
from central.store.rows import FileRow, LeaseRow, WorkRow
from central.workings import Workings

RECORDS = frozenset({"work-manifest", "lease", "dataset", "segment"})
SEGMENTS_AT_ONCE = 256  # short ones, of at most 16 MiB together
LISTED = frozenset({"lease", "dataset"})


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


def read_result(workings: Workings, bundle: OpenBundle) -> Found:
    """Return what a result bundle brings.

    Raises:
        MissingLease, MissingDataset: it rests on what has not arrived (Parkable).
        ForeignLease, OutsideLease, TooManyAttempts, MalformedContent: it is refused.
        BundleRefused: a chunk is damaged.
    """
    found = Found()
    _read_records(workings, bundle, found)
    _read_segments(workings, bundle, found)
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


def _read_segments(workings: Workings, bundle: OpenBundle, found: Found) -> None:
    where = str(bundle.path)
    places = {bundle.manifest.chunks[place].digest: place for place in bundle.find("segment")}
    entries = bundle.manifest.segments
    known = workings.store.segments.known([entry.digest for entry in entries])
    rows = workings.store.datasets.leases({entry.lease for entry in entries})
    of_lease = {LeaseId(row.id): row for row in rows}
    readers: dict[LeaseId, _SegmentReader] = {}
    total = 0
    if len({entry.digest for entry in entries}) < len(entries):
        raise MalformedContent(where=where, reason="a segment is listed twice")
    new = [one.digest for one in entries if one.digest in places and one.digest not in known]
    evident = _Evident(bundle, [places[one] for one in new])
    for entry in entries:
        if entry.digest not in places:
            raise MalformedContent(where=where, reason=f"segment {entry.digest.hex()} is not in it")
        if entry.lease not in readers:
            readers[entry.lease] = _reader(workings, bundle, (found, of_lease), entry)
        readers[entry.lease].authorise(entry, bundle)
        if entry.digest in known:
            bundle.check_chunk(places[entry.digest])
            continue
        place = places[entry.digest]
        one = readers[entry.lease].read(entry, place, bundle, evident.take(place))
        total += one.columns.count
        if total > ATTEMPTS_PER_BUNDLE_MAX:
            raise TooManyAttempts(where=where, found=total, most=ATTEMPTS_PER_BUNDLE_MAX)
        found.segments.append(one)


class _Evident:
    """Columns of a bundle's short segments, read some at a time before each is judged in turn."""

    def __init__(self, bundle: OpenBundle, places: list[int]) -> None:
        """Read chunks at these places, in this order."""
        self._bundle, self._left = bundle, places
        self._found: dict[int, SegmentColumns | None] = {}

    def take(self, place: int) -> SegmentColumns | None:
        """Return the columns of the next that is asked for, None where it must be read alone."""
        if not self._found:
            some, self._left = self._left[:SEGMENTS_AT_ONCE], self._left[SEGMENTS_AT_ONCE:]
            raws = list(map(self._short, some))
            self._found = dict(zip(some, segments_together.evident(raws), strict=True))
        return self._found.pop(place)

    def _short(self, place: int) -> bytes | None:
        if self._bundle.manifest.chunks[place].raw_bytes > segments_together.BYTES_MAX:
            return None
        try:
            return self._bundle.chunk(place)
        except BundleRefused:
            return None


def _reader(
    workings: Workings,
    bundle: OpenBundle,
    known: tuple[Found, Mapping[LeaseId, LeaseRow]],
    entry: SegmentEntry,
) -> _SegmentReader:
    """Return what reads the segments of one lease. Raises MissingLease, MissingDataset."""
    found, rows = known
    row = rows.get(entry.lease)
    learned = found.leases.get(entry.lease)
    if row is not None:
        lease, owner, work = workings.lease(row), row.site, row.work
    elif learned is not None:
        lease, owner, work = learned.lease, learned.work.site, learned.work.id
    else:
        raise MissingLease(where=str(bundle.path), lease=entry.lease.hex())
    raw = found.documents.get(lease.dataset_digest)
    try:
        dag = workings.dag(lease.dataset_digest, raw)
    except MissingDataset:
        raise MissingDataset(where=str(bundle.path), dataset=lease.dataset) from None
    return _SegmentReader(lease, owner, work, dag)


class _SegmentReader:
    """Reads the segments of one lease and holds them to it."""

    def __init__(self, lease: Lease, owner: SiteName, work: BundleId, dag: Dag) -> None:
        self._lease, self._owner, self._work, self._shape = lease, owner, work, dag
        self._hashes = dict(lease.spec_hashes)

    def authorise(self, entry: SegmentEntry, bundle: OpenBundle) -> None:
        """Raise ForeignLease unless the site that signed the bundle was given the lease."""
        if bundle.site != self._owner:
            raise ForeignLease(
                where=str(bundle.path), lease=entry.lease.hex(), owner=self._owner, site=bundle.site
            )
        if entry.work != self._work:
            raise OutsideLease(
                where=str(bundle.path),
                segment=entry.digest.hex(),
                reason=f"its lease is of work bundle {self._work}, not {entry.work}",
            )

    def read(
        self,
        entry: SegmentEntry,
        place: int,
        bundle: OpenBundle,
        columns: SegmentColumns | None,
    ) -> FoundSegment:
        """Return a segment's attempts, whose columns may have been read before.

        Raises OutsideLease, MalformedContent, BundleRefused.
        """
        where = str(bundle.path)
        try:
            columns = columns or segment_decode.decode(bundle.chunk(place))
        except BundleRefused:
            raise
        except PulkError as error:
            raise MalformedContent(where=where, reason=error.text()) from error
        problem = self._problem(entry, columns)
        if problem:
            raise OutsideLease(where=where, segment=entry.digest.hex(), reason=problem)
        return FoundSegment(entry, columns, place)

    def _problem(self, entry: SegmentEntry, columns: SegmentColumns) -> str:
        """Return why a segment does not stand for its lease, or nothing."""
        header, lease = columns.header, self._lease
        if (header.lease, header.pilot_run, header.work) != (
            entry.lease, entry.pilot_run, entry.work,
        ):  # fmt: skip
            return "its header names another lease, pilot or work bundle than the manifest"
        if (header.dataset, header.dataset_digest) != (lease.dataset, lease.dataset_digest):
            return "its header names another dataset than the lease"
        if self._is_evidently_leased(columns):
            return ""
        steps, jobs, generations = columns["step"], columns["job"], columns["generation"]
        outputs, several = columns["outputs"], columns.steps()
        for step in several:
            its = np.flatnonzero(steps == step) if len(several) > 1 else np.arange(len(steps))
            strange = its[~self._leased(step, jobs[its], generations[its])]
            if len(strange):
                row = strange[0]
                return f"job {jobs[row]} step {step} generation {generations[row]} is not leased"
            if step not in self._hashes or not self._holds(step, int(jobs[its].max())):
                return f"job {jobs[its].max()} step {step} is no task of the dataset"
            declared = len(self._shape.dataset.steps[step].outputs)
            wrong = its[columns.succeeded[its] & (outputs[its] != declared)]
            if len(wrong):
                return f"job {jobs[wrong[0]]} step {step} has {outputs[wrong[0]]} outputs"
        return ""

    def _is_evidently_leased(self, columns: SegmentColumns) -> bool:
        """Return whether its bounds show that one stretch of one step was leased so."""
        of, step = columns.summary, columns.summary.step_min
        if not columns.count or step != of.step_max or step not in self._hashes:
            return False
        if not self._holds(step, of.job_max):
            return False
        declared = len(self._shape.dataset.steps[step].outputs)
        if of.successes and not declared == of.outputs_min == of.outputs_max:
            return False
        return any(
            low <= of.job_min and of.job_max < past
            for block in self._lease.blocks
            if step in block.steps
            and block.generation == of.generation_min == of.generation_max
            for low, past in block.jobs.spans
        )

    def _holds(self, step: int, job: int) -> bool:
        return self._shape.holds((step, job))

    def _leased(self, step: int, jobs: Numbers, generations: Numbers) -> Mask:
        """Return which tasks of a step the lease covers at their generations."""
        found = np.zeros(len(jobs), np.bool_)
        for block in self._lease.blocks:
            if step in block.steps:
                found |= inside(block.jobs, jobs) & (generations == block.generation)
        return found
