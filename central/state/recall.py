"""Attempts read back out of the archive: the details behind state bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bundle.errors import PulkError
from bundle.ids import LeaseId, PilotRun
from bundle.wire.read import open_known
from central.core import segments_together
from central.core.controls import Controls
from central.core.dag import Dag
from central.core.facts import AttemptFact, Place, attempt_fact
from central.core.segment_columns import SegmentColumns
from central.core.state_byte import BLOCK_BITS, Jobs
from central.errors import ArchiveIncomplete
from central.state.blocks import blocks_of
from central.store.rows import BlockKey, LeaseRow, SegmentRow, Span

if TYPE_CHECKING:
    from central.workings import Workings

ATTEMPTS_MAX = 200_000  # attempts whose columns are kept


@dataclass(frozen=True, slots=True)
class Recalled:
    """A segment, its attempts as columns, and the lease that it answers."""

    row: SegmentRow
    columns: SegmentColumns
    lease: LeaseRow
    spec_hashes: dict[int, bytes]

    def fact(self, number: int) -> AttemptFact:
        """Return the fact of one attempt."""
        attempt = self.columns.attempt(number)
        lease, run = LeaseId(self.lease.id), PilotRun(self.row.pilot_run)
        return attempt_fact(attempt, lease, run, self.spec_hashes[attempt.step])


@dataclass(frozen=True, slots=True)
class Success:
    """One success: the segment that has it, and which of its attempts it is."""

    segment: Recalled
    number: int

    def outcome(self) -> bytes:
        """Return what stands for all its outputs."""
        return self.segment.columns.outcome(self.number)


class Recall:
    """Reads segments, and keeps the columns of those read last."""

    def __init__(self, workings: Workings) -> None:
        """Read from the archive of these workings."""
        self._w = workings
        self._kept: OrderedDict[int, Recalled] = OrderedDict()
        self._attempts = 0

    def keep(self, one: Recalled) -> None:
        """Keep a segment that is at hand, which may not lie in the archive yet."""
        if one.row.no not in self._kept:
            self._attempts += one.columns.count
            self._kept[one.row.no] = one

    def trim(self) -> None:
        """Forget what was used longest ago, as far as too much is kept."""
        while self._attempts > ATTEMPTS_MAX and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self._attempts -= gone.columns.count

    def forget(self) -> None:
        """Forget all: a transaction was undone, its numbers will be given again."""
        self._kept.clear()
        self._attempts = 0

    def segments(self, rows: Collection[SegmentRow]) -> dict[int, Recalled]:
        """Return segments by number; each bundle is opened once."""
        missing: dict[int, list[SegmentRow]] = {}
        for row in rows:
            if row.no in self._kept:
                self._use_again(row.no)
            else:
                missing.setdefault(row.bundle, []).append(row)
        for bundle, wanted in missing.items():
            self._read(bundle, wanted)
        return {row.no: self._kept[row.no] for row in rows}

    def _use_again(self, no: int) -> None:
        """Put one last in turn, without its neighbours: they may be forgotten before it."""
        one = self._kept[no]
        self._kept[no] = replace(one, columns=one.columns.alone())
        self._kept.move_to_end(no)

    def facts(
        self, dataset: int, places: Collection[Place], without: Collection[int] = ()
    ) -> list[tuple[AttemptFact, int]]:
        """Return every attempt at tasks with the number of its segment.

        Args:
            dataset: its number.
            places: the tasks.
            without: numbers of segments to leave out.
        """
        found: list[tuple[AttemptFact, int]] = []
        by_step: dict[int, list[int]] = {}
        for step, job in places:
            by_step.setdefault(step, []).append(job)
        for step, wanted in by_step.items():
            jobs = np.array(sorted(wanted), np.int64)
            for one in self.touching(dataset, step, jobs, without):
                numbers = np.flatnonzero(
                    (one.columns["step"] == step) & np.isin(one.columns["job"], jobs)
                )
                found += [(one.fact(number), one.row.no) for number in numbers.tolist()]
        return found

    def touching(
        self, dataset: int, step: int, jobs: Jobs, without: Collection[int] = ()
    ) -> list[Recalled]:
        """Return the segments that may have attempts at jobs of a step, by number."""
        keys: list[BlockKey] = [(step, block) for block in blocks_of(jobs)]
        rows: dict[int, SegmentRow] = {}
        ends = (int(jobs[0]), int(jobs[-1])) if len(jobs) else (0, -1)
        for row, span in self._w.store.segments.touching(dataset, keys, *ends):
            if row.no not in without and _meets(span, jobs):
                rows[row.no] = row
        read = self.segments(list(rows.values()))
        return [read[no] for no in sorted(read)]

    def successes(
        self,
        dataset: int,
        of: tuple[Dag, Controls],
        step: int,
        jobs: Jobs,
        without: Collection[int] = (),
    ) -> dict[int, list[Success]]:
        """Return by job the successes that count but for their lineage."""
        found: dict[int, list[Success]] = {}
        dag, controls = of
        standings = controls.standings(step, jobs)
        for one in self.touching(dataset, step, jobs, without):
            if one.spec_hashes.get(step) != dag.spec_hash(step):
                continue
            columns = one.columns
            numbers = np.flatnonzero(columns.succeeded & (columns["step"] == step))
            if not len(numbers):
                continue
            its = columns["job"][numbers]
            at = np.minimum(np.searchsorted(jobs, its), len(jobs) - 1)
            generation = columns["generation"][numbers]
            counts = (jobs[at] == its) & (generation >= standings.since[at])
            counts &= generation <= standings.generation[at]
            for number in numbers[counts].tolist():
                found.setdefault(int(columns["job"][number]), []).append(Success(one, number))
        return found

    def _read(self, bundle: int, wanted: Iterable[SegmentRow]) -> None:
        """Read segments of a bundle that was verified when it was merged. Raises ArchiveIncomplete.

        Its id is checked, no signature: a key that was revoked since has merged it all the same.
        """
        name = self._w.store.bundles.bundle_id(bundle)
        rows = list(wanted)
        leases = {
            one.no: one for one in self._w.store.datasets.leases_by_no({row.lease for row in rows})
        }
        try:
            with open_known(self._w.archive.path(name), name) as opened:
                each = segments_together.decode_all([opened.chunk(row.place) for row in rows])
        except (PulkError, OSError, IndexError) as error:
            reason = error.text() if isinstance(error, PulkError) else str(error)
            raise ArchiveIncomplete(bundle=name, reason=reason) from error
        for row, columns in zip(rows, each, strict=True):
            lease = leases[row.lease]
            self.keep(Recalled(row, columns, lease, dict(self._w.lease(lease).spec_hashes)))


def _meets(span: Span, jobs: Jobs) -> bool:
    """Return whether any of ascending jobs lies in a segment's span of a block."""
    if span.job_min >> BLOCK_BITS != span.block:
        return False
    at = int(np.searchsorted(jobs, span.job_min))
    return at < len(jobs) and int(jobs[at]) <= span.job_max
