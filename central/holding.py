"""Reading a result bundle's segments, each held to its lease: its site, its tasks, their outputs.

Short segments are read many at once before each is judged in its turn, so that what is refused, and
why, is the same as if each had been read alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bundle.errors import PulkError
from bundle.ids import BundleId, LeaseId, SiteName
from bundle.limits import ATTEMPTS_PER_BUNDLE_MAX
from bundle.records.lease import Lease
from bundle.wire.entries import SegmentEntry
from bundle.wire.errors import BundleRefused
from bundle.wire.read import OpenBundle
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
from central.found import Found, FoundSegment
from central.store.rows import LeaseRow
from central.workings import Workings

SEGMENTS_AT_ONCE = 256  # short ones, of at most 16 MiB together


def read_segments(workings: Workings, bundle: OpenBundle, found: Found) -> None:
    """Read the segments that are new here, by the leases that are known or came with them.

    Raises MissingLease, MissingDataset, ForeignLease, OutsideLease, TooManyAttempts,
    MalformedContent, BundleRefused; always by the first segment that is refused.
    """
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
        if place not in self._found and self._left[:1] == [place]:
            some, self._left = self._left[:SEGMENTS_AT_ONCE], self._left[SEGMENTS_AT_ONCE:]
            raws = list(map(self._short, some))
            self._found = dict(zip(some, segments_together.evident(raws), strict=True))
        return self._found.pop(place, None)

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
            if step in block.steps and block.generation == of.generation_min == of.generation_max
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
