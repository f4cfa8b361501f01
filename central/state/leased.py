"""Which tasks a lease covers as things stand: what is run by it otherwise would not count."""

from __future__ import annotations

from bundle.intervals import IntervalSet
from bundle.records.lease import Lease
from central.core import state_byte
from central.state.judge import Judge


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
