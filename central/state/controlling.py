"""What a control changes: bytes and counters of all tasks that it covers, block by block.

A reset takes the facts out of bytes; an adoption or an edit does so too, and what then counts is
joined anew from the archive. Everything else leaves the facts and changes verdicts alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bundle.ids import JOB_MAX
from bundle.intervals import IntervalSet
from central.core import state_byte
from central.core.controls import Controls
from central.core.dag import Dag
from central.core.edit import stale_steps
from central.core.facts import Control, ControlWord, Pin
from central.core.state_byte import BLOCK_BITS, BLOCK_JOBS, Jobs
from central.state.dataset_join import DatasetJoin
from central.state.judge import FIRST, Judge
from central.state.plain import caps_by_fate
from central.state.recall import Recall
from central.store.protocol import Store

FACTS = state_byte.DONE | state_byte.FAILURES
REMADE = frozenset({ControlWord.RESET, ControlWord.ADOPT, ControlWord.EDIT})

Regions = dict[int, IntervalSet]  # jobs by step


def apply(
    store: Store, join: DatasetJoin, recall: Recall, control: Control, now: tuple[Dag, Controls]
) -> frozenset[int]:
    """Let a control that the store has already act; return the steps that it emptied.

    Args:
        store: the store.
        join: the dataset's, by the controls of before; nothing else is joined to it yet.
        recall: what reads attempts back.
        control: the control.
        now: the document and the controls in force now.
    """
    old = join.judge
    dag, controls = now
    join.judge_anew(Judge(dag, controls, join.blocks))
    remade = _remade(old.dag, dag, control)
    named = None if control.regions is None else dict(control.regions)
    tried = store.segments.generation_max(join.row.no)
    forget = FACTS if control.word is ControlWord.ADOPT else FACTS | state_byte.LEASED
    again = False
    judged = _judged_anew(old.dag, dag, remade, control)
    kept = min(old.dag.dataset.jobs, dag.dataset.jobs)  # jobs that were there and stay
    whole = list(_whole_tasks(join, named, _since_task(old.dag, dag, remade, control)))
    for step, tasks in whole:  # first, or a step has more tasks than it may until they are removed
        join.touch((step, task) for task in tasks[tasks >= dag.tasks[step]].tolist())
    for block in _blocks(store, join, named, kept if judged is not None and not judged else 0):
        oldest = tried + 1  # generation whose results count at tasks that were emptied
        for step in dag.order:
            if dag.whole[step]:
                continue
            jobs = _jobs(join, named, step, block)
            if judged is not None and step not in judged:
                jobs = jobs[jobs >= kept]
            if len(jobs):
                if control.word is ControlWord.EDIT and caps_by_fate(dag.dataset.steps[step].retry):
                    join.touch_failed(step, jobs)
                join.stand_anew(old, step, jobs, forget=forget if step in remade else 0)
                if step in remade:
                    oldest = min(oldest, int(controls.standings(step, jobs).since.min()))
        join.run()
        if oldest <= tried:
            again = True
            _join_again(join, recall, named, remade, block)
        join.blocks.drop()
    if again:
        join.add_pins(_pins(store, join, named, remade))
    for step, tasks in whole:
        if control.word is ControlWord.EDIT and step in remade:
            join.set_leased(step, tasks, leased=False)
        join.touch((step, task) for task in tasks.tolist())
    join.run()
    join.grow(old.dag.dataset.jobs)
    return remade


def _remade(before: Dag, now: Dag, control: Control) -> frozenset[int]:
    """Return the steps whose tasks lose what their bytes say."""
    if control.word is not ControlWord.EDIT:
        every = frozenset(range(len(now.whole)))
        return every if control.word in REMADE else frozenset()
    old, new = before.dataset.steps, now.dataset.steps
    poison = {  # who takes pilots down is in no byte as long as it is not asked for
        number
        for number, (one, other) in enumerate(zip(old, new, strict=True))
        if other.retry.pilots_max and not one.retry.pilots_max
    }
    return stale_steps(before, now) | poison


def _judged_anew(
    before: Dag, now: Dag, remade: frozenset[int], control: Control
) -> frozenset[int] | None:
    """Return the steps per job all of whose tasks an edit may move; None: it is no edit.

    What is limited as before, and computes the same from the same, stands where it stood.
    """
    if control.word is not ControlWord.EDIT:
        return None
    return frozenset(one for one in remade | _capped(before, now) if not now.whole[one])


def _capped(before: Dag, now: Dag) -> frozenset[int]:
    """Return the steps that another number of failures ends."""
    return frozenset(
        number
        for number, (one, other) in enumerate(
            zip(before.dataset.steps, now.dataset.steps, strict=True)
        )
        if (one.failures_max, one.retry) != (other.failures_max, other.retry)
    )


def _since_task(before: Dag, now: Dag, remade: frozenset[int], control: Control) -> dict[int, int]:
    """Return by step the first of its tasks over several jobs that a control may move.

    An edit moves none of the blocks that have all their jobs before and after it.
    """
    if control.word is not ControlWord.EDIT:
        return {}
    kept, moved = min(before.dataset.jobs, now.dataset.jobs), remade | _capped(before, now)
    return {
        step: kept // span
        for step, span in enumerate(now.spans)
        if now.whole[step] and not now.single[step] and step not in moved
    }


def _blocks(store: Store, join: DatasetJoin, named: Regions | None, since: int) -> list[int]:
    """Return the blocks of jobs that a control may concern; of jobs from `since` on."""
    if since:
        return list(state_byte.blocks_within(join.row.touched.within(since, join.row.past)))
    if named is None:
        return sorted({row.block for row in store.tasks.every_block(join.row.no)})
    found: set[int] = set()
    for step, jobs in named.items():
        if not join.judge.dag.whole[step]:
            bounds = np.array(jobs.spans, np.int64).reshape(-1, 2)
            low, high = bounds[:, 0] >> BLOCK_BITS, (bounds[:, 1] - 1) >> BLOCK_BITS
            found.update(np.unique(low).tolist())
            wide = low < high
            for first, last in zip(low[wide].tolist(), high[wide].tolist(), strict=True):
                found.update(range(first, last + 1))
    return sorted(found)


def _jobs(join: DatasetJoin, named: Regions | None, step: int, block: int) -> Jobs:
    """Return the jobs of a block that a control concerns: where it names none, those touched."""
    low = block << BLOCK_BITS
    past = low + BLOCK_JOBS
    if named is not None:
        return state_byte.jobs_of(named.get(step, IntervalSet()).within(low, past).spans)
    every = state_byte.jobs_of([(low, max(low, min(past, join.row.past)))])
    found: Jobs = every[(join.blocks.read(step, every) & state_byte.TOUCHED) != 0]
    return found


def _join_again(
    join: DatasetJoin, recall: Recall, named: Regions | None, remade: frozenset[int], block: int
) -> None:
    """Join what the archive has of the tasks of a block whose bytes were emptied."""
    low = block << BLOCK_BITS
    past = low + BLOCK_JOBS
    whole = IntervalSet(((low, past),))
    again = {
        step: whole if named is None else named.get(step, IntervalSet()).within(low, past)
        for step in remade
        if not join.judge.dag.whole[step]
    }
    segments = {}
    for step, jobs in again.items():
        if jobs.spans:
            wanted = state_byte.jobs_of(jobs.spans)
            segments.update({s.row.no: s for s in recall.touching(join.row.no, step, wanted)})
    join.add_segments([segments[no] for no in sorted(segments)], again=again)


def _pins(
    store: Store, join: DatasetJoin, named: Regions | None, remade: frozenset[int]
) -> Iterator[Pin]:
    """Yield the pins of tasks whose bytes were emptied."""
    for pin in store.tasks.every_pin(join.row.no):
        if pin.step in remade and (named is None or pin.job in named.get(pin.step, IntervalSet())):
            yield pin


def _whole_tasks(
    join: DatasetJoin, named: Regions | None, since: dict[int, int]
) -> Iterator[tuple[int, Jobs]]:
    """Yield the tasks of steps over several jobs that a control concerns.

    Where it names none, those that something happened to, or to one of their jobs; of a step in
    `since` only those from there on.
    """
    dag = join.judge.dag
    for step, whole in enumerate(dag.whole):
        if not whole or (named is not None and step not in named):
            continue
        if dag.single[step]:
            yield step, FIRST
        else:
            found = _begun_tasks(join, step) if named is None else named[step]
            yield step, state_byte.jobs_of(found.within(since.get(step, 0), JOB_MAX + 1).spans)


def _begun_tasks(join: DatasetJoin, step: int) -> IntervalSet:
    """Return the tasks of a step per block that something happened to, or to one of their jobs."""
    dag = join.judge.dag
    every = np.arange(dag.past(step, 0))
    own = every[join.blocks.read(step, every) != 0]
    return dag.covering(step, join.row.touched) | IntervalSet(tuple(state_byte.spans_of(own)))
