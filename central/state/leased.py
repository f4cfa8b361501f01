"""Which tasks a lease covers as things stand, and how leases are added to a store.

What is run by a lease otherwise would not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bundle.ids import BundleId, LeaseId
from bundle.intervals import IntervalSet
from bundle.records.lease import Lease
from central.core import alike, state_byte
from central.state.judge import Judge
from central.store.protocol_facts import Datasets
from central.store.rows import LeaseRow, WorkRow


class AddedLeases:
    """What one transaction adds: of much alike leases of a dataset the first is kept whole."""

    def __init__(self, datasets: Datasets) -> None:
        """Add to a store; to be made anew for every transaction."""
        self._datasets = datasets
        self._works: set[BundleId] = set()
        self._wholes: dict[int, LeaseRow] = {}  # the latest by dataset
        self._numbers: dict[LeaseId, int] = {}  # of all that were kept whole

    def add(self, rows: Sequence[LeaseRow], works: Iterable[WorkRow]) -> None:
        """Add live leases, and their works where these are new."""
        for work in works:
            if work.id not in self._works:
                self._datasets.add_work(work)
                self._works.add(work.id)
        wholes: list[LeaseRow] = []
        likes: list[tuple[LeaseRow, LeaseId]] = []  # and which one each is alike
        for row in rows:
            whole = self._wholes.get(row.dataset)
            differs = alike.difference(row.raw, whole.raw) if whole else None
            if whole and differs is not None:
                likes.append((row._replace(raw=differs), whole.id))
            else:
                wholes.append(row)
                self._wholes[row.dataset] = row
        self._numbers |= self._added(wholes)
        self._added([row._replace(alike=self._numbers[of]) for row, of in likes])

    def _added(self, rows: Sequence[LeaseRow]) -> dict[LeaseId, int]:
        numbers = self._datasets.add_leases(rows) if rows else ()
        return {row.id: no for row, no in zip(rows, numbers, strict=True)}


def said(row: LeaseRow) -> bytes:
    """Return what the chunk of a lease says. Raises NotCanonical where its row is damaged."""
    return alike.restored(row.raw, row.pattern) if row.alike else row.raw


def standing(judge: Judge, lease: Lease) -> dict[int, IntervalSet]:
    """Return the jobs that a lease covers at the generation and spec in force, by step."""
    dag, controls, hashes = judge.dag, judge.controls, dict(lease.spec_hashes)
    found: dict[int, IntervalSet] = {}
    for block in lease.blocks:
        for step in block.steps:
            if step >= len(dag.whole) or hashes.get(step) != dag.spec_hash(step):
                continue
            jobs = block.jobs  # also those that the dataset has no more: it may be extended again
            if dag.whole[step] and jobs.spans:
                jobs = jobs.within(0, dag.past(step, 0))
            if not jobs.spans:
                continue
            if controls.is_partial:
                every = state_byte.jobs_of(jobs.spans)
                same = controls.standings(step, every).generation == block.generation
                jobs = IntervalSet(tuple(state_byte.spans_of(every[same])))
            elif controls.whole.generation != block.generation:
                continue
            found[step] = found[step] | jobs if step in found else jobs
    return found
