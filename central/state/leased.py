"""Which tasks a lease covers as things stand, and how leases are added to a store.

What is run by a lease otherwise would not count.
"""

from __future__ import annotations

from bundle.ids import BundleId
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

    def add(self, row: LeaseRow, work: WorkRow) -> LeaseRow:
        """Add a live lease, and its work where that is new; return its row."""
        if work.id not in self._works:
            self._datasets.add_work(work)
            self._works.add(work.id)
        whole = self._wholes.get(row.dataset)
        differs = alike.difference(row.raw, whole.raw) if whole else None
        if whole and differs is not None:
            row = row._replace(raw=differs, alike=whole.no, pattern=whole.raw)
        row = row._replace(no=self._datasets.add_lease(row))
        if not row.alike:
            self._wholes[row.dataset] = row
        return row


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
            tasks = dag.dataset.tasks_of(step)
            if not block.jobs.spans:
                continue
            jobs = block.jobs
            if jobs.spans[-1][1] > tasks:
                jobs = jobs & IntervalSet(((0, tasks),))
            if controls.is_partial:
                every = state_byte.jobs_of(jobs.spans)
                same = controls.standings(step, every).generation == block.generation
                jobs = IntervalSet(tuple(state_byte.spans_of(every[same])))
            elif controls.whole.generation != block.generation:
                continue
            found[step] = found[step] | jobs if step in found else jobs
    return found
