"""What a dataset needs of others, as things stand: which of its tasks may be given out for it.

This is asked where tasks are given out, and nowhere else: verdicts and hashes of a dataset are
functions of its own facts (ADR 33). What was given out upon what stands in the lease.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

import numpy as np

from bundle.dataset.foreign import Foreign, Which
from bundle.ids import DatasetId
from bundle.intervals import IntervalSet
from bundle.records.foreign import ForeignPins, ForeignTask
from central.core import state_byte
from central.core.dag import Dag
from central.core.facts import Place
from central.core.shards import Shard
from central.core.state_byte import BLOCK_BITS, BLOCK_JOBS, Jobs, Mask
from central.state.reading import Reading
from central.store.rows import DatasetRow
from central.workings import Workings

Lacking = frozenset[tuple[DatasetId, int, int]]
"""Tasks (dataset, step, task) that are done, but whose files are not at central."""

NOTHING: Lacking = frozenset()


class Gate(Enum):
    """Whether a need is met: for no task, for some, for every one."""

    CLOSED = auto()
    SOME = auto()
    OPEN = auto()


@dataclass(slots=True)
class Other:
    """Another dataset as it is now, looked at no further than it is asked for."""

    row: DatasetRow
    dag: Dag
    reading: Reading
    is_removed: bool
    done: dict[int, int]  # tasks done, by step
    steps: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, workings: Workings, dataset: DatasetId) -> Other | None:
        """Look at a dataset; None where there is none."""
        row = workings.store.datasets.dataset(dataset)
        if row is None:
            return None
        dag = workings.dag(row.digest)
        reading = Reading(workings, row)
        removed = workings.controls(row).whole.removed
        names = {step.name: place for place, step in enumerate(dag.dataset.steps)}
        return cls(row, dag, reading, removed, reading.done_by_step(), names)

    def tasks(self, step: int) -> int:
        """Return how many tasks a step has."""
        return self.dag.dataset.tasks_of(step)

    def outputs(self, step: int) -> dict[str, int]:
        """Return the places of a step's outputs, by their names."""
        return {one.name: at for at, one in enumerate(self.dag.dataset.steps[step].outputs)}


def travels(dag: Dag, step: int) -> bool:
    """Return whether what a step's tasks put out always travels home: final, or kept."""
    outputs = dag.dataset.steps[step].outputs
    return not dag.consumed_by[step] or any(one.keep for one in outputs)


@dataclass(slots=True)
class Need:
    """One need of a step. `other` and `step` are None where there is no such dataset, or step."""

    of: Foreign
    jobs: int  # that the needing dataset has
    other: Other | None
    lacking: frozenset[int] = frozenset()

    @property
    def step(self) -> int | None:
        """The other step's index; None where there is none, or it lacks an output."""
        if self.other is None or self.other.is_removed:
            return None
        step = self.other.steps.get(self.of.step)
        if step is None:
            return None
        outputs = self.other.outputs(step)
        return step if all(name in outputs for name, _ in self.of.inputs) else None

    def counted(self) -> tuple[int, int]:
        """Return how many of its tasks are done, and of how many."""
        step = self.step
        if self.other is None or step is None:
            return 0, 0
        return self.other.done.get(step, 0), self.other.tasks(step)

    def gate(self) -> Gate:
        """Return whether it is met, by counters alone where they tell."""
        other, step = self.other, self.step
        if other is None or step is None:
            return Gate.CLOSED
        done, tasks = self.counted()
        if self.of.which is Which.ALL:
            is_whole = done >= tasks and not other.dag.dataset.open and not self.lacking
            return Gate.OPEN if is_whole else Gate.CLOSED
        if not done:
            return Gate.CLOSED
        covers = tasks * other.dag.spans[step] >= self.jobs
        return Gate.OPEN if done >= tasks and covers and not self.lacking else Gate.SOME

    def open(self, jobs: Jobs) -> Mask:
        """Return for which jobs the task about the same one is done."""
        other, step = self.other, self.step
        if other is None or step is None:
            return np.zeros(len(jobs), np.bool_)
        tasks, back = np.unique(jobs // other.dag.spans[step], return_inverse=True)
        there = tasks < other.tasks(step)
        found = np.zeros(len(tasks), np.bool_)
        found[there] = other.reading.done(step, tasks[there])
        if self.lacking:
            found &= ~np.isin(tasks, sorted(self.lacking))
        opened: Mask = found[back]
        return opened

    def may_open(self, block: int) -> bool:
        """Return whether some job of a block may be open, by a quick look."""
        other, step = self.other, self.step
        if other is None or step is None:
            return False
        return other.dag.spans[step] > 1 or other.reading.has_done(step, block)

    def wanted(self, jobs: IntervalSet) -> IntervalSet:
        """Return which tasks the tasks of some jobs read."""
        other, step = self.other, self.step
        assert other is not None  # noqa: S101  what is given out has its needs met
        assert step is not None  # noqa: S101
        if self.of.which is Which.ALL:
            return IntervalSet(((0, other.tasks(step)),))
        return other.dag.covering(step, jobs)


class Needs:
    """All needs of one dataset's steps of others, as things stand now."""

    def __init__(self, workings: Workings, dag: Dag, lacking: Lacking = frozenset()) -> None:
        """Look at the datasets that are named."""
        names = {one.dataset for step in dag.dataset.steps for one in step.foreign}
        others = {name: Other.of(workings, name) for name in sorted(names)}
        self._jobs = dag.dataset.jobs
        self.by_step = {
            place: [self._need(one, others[one.dataset], lacking) for one in step.foreign]
            for place, step in enumerate(dag.dataset.steps)
            if step.foreign
        }
        self._gates = {step: _of_all(needs) for step, needs in self.by_step.items()}

    def _need(self, of: Foreign, other: Other | None, lacking: Lacking) -> Need:
        step = other.steps.get(of.step) if other is not None else None
        its = frozenset(
            task for name, its, task in lacking if (name, its) == (of.dataset, step) and of.inputs
        )
        return Need(of, self._jobs, other, its)

    def closed(self) -> frozenset[int]:
        """Return the steps of which no task may be given out."""
        return frozenset(step for step, one in self._gates.items() if one is Gate.CLOSED)

    def some(self) -> frozenset[int]:
        """Return the steps of which some tasks may be given out, others not."""
        return frozenset(step for step, one in self._gates.items() if one is Gate.SOME)

    def open(self, step: int, jobs: Jobs) -> Mask:
        """Return which of a step's tasks may be given out."""
        found = np.ones(len(jobs), np.bool_)
        for one in self.by_step.get(step, ()):
            if one.gate() is not Gate.OPEN:
                found &= one.open(jobs)
        return found

    def waits(self, jobs: Iterable[int]) -> frozenset[Place]:
        """Return the tasks of steps of which some may be given out that may not, of these jobs."""
        ordered = np.array(sorted(jobs), np.int64)
        return frozenset(
            (step, job)
            for step in self.some()
            for job in ordered[~self.open(step, ordered)].tolist()
        )

    def first_open(self, jobs: IntervalSet, steps: Iterable[int], limit: int) -> IntervalSet:
        """Return the first jobs for which all of some steps may be given out, about `limit`."""
        gated = sorted(self.some().intersection(steps))
        found: list[tuple[int, int]] = []
        count = 0
        for block in state_byte.blocks_within(jobs):
            needs = (one for step in gated for one in self.by_step[step])
            if not all(one.gate() is Gate.OPEN or one.may_open(block) for one in needs):
                continue
            low = block << BLOCK_BITS
            its = state_byte.jobs_of(jobs.within(low, low + BLOCK_JOBS).spans)
            for step in gated:
                its = its[self.open(step, its)]
            found += state_byte.spans_of(its)
            count += len(its)
            if count >= limit:
                break
        return IntervalSet.spanning(found)


def _of_all(needs: Iterable[Need]) -> Gate:
    gates = {one.gate() for one in needs}
    if Gate.CLOSED in gates:
        return Gate.CLOSED
    return Gate.SOME if Gate.SOME in gates else Gate.OPEN


@dataclass(slots=True)
class Read:
    """What shards read of other datasets: their pins by the shard's place, and the tasks read.

    `files`: of each task the digests that are read; `unknown`: tasks of which no success is known.
    """

    pins: list[tuple[ForeignPins, ...]]
    files: dict[tuple[DatasetId, int, int], tuple[bytes, ...]]
    unknown: Lacking
    others: dict[DatasetId, Other]


@dataclass(slots=True)
class _Wanted:
    """Which tasks of another step a shard reads, and which of their outputs."""

    other: Other
    step: int
    outputs: set[str] = field(default_factory=set)
    tasks: IntervalSet = field(default_factory=IntervalSet)


def read(needs: Needs, shards: Iterable[Shard]) -> Read:
    """Look up the successes of other datasets that shards read."""
    wanted = [_wanted(needs, shard) for shard in shards]
    places: dict[DatasetId, set[Place]] = {}
    others: dict[DatasetId, Other] = {}
    for one in (each for several in wanted for each in several.values()):
        others[one.other.row.id] = one.other
        places.setdefault(one.other.row.id, set()).update((one.step, n) for n in one.tasks)
    built = {name: others[name].reading.built(sorted(of)) for name, of in places.items()}
    unknown = frozenset(
        (name, *place) for name, of in places.items() for place in of if place not in built[name]
    )
    found = Read([], {}, unknown, others)
    for several in wanted:
        pins = []
        for one in several.values():
            names = sorted(one.outputs)
            at = [one.other.outputs(one.step)[name] for name in names]
            tasks = []
            for number in one.tasks:
                of = built[one.other.row.id].get((one.step, number))
                if of is not None:
                    files = tuple(of.outputs[place] for place in at)
                    tasks.append(ForeignTask(number, of.generation, of.attempt, files))
                    key = (one.other.row.id, one.step, number)
                    known = found.files.get(key, ())
                    found.files[key] = (*known, *(digest for digest, _ in files))
            dag = one.other.dag
            name = dag.dataset.steps[one.step].name
            span = dag.spans[one.step]
            pins.append(ForeignPins(one.other.row.id, name, span, tuple(names), tuple(tasks)))
        found.pins.append(tuple(pins))
    return found


def _wanted(needs: Needs, shard: Shard) -> dict[tuple[DatasetId, str], _Wanted]:
    found: dict[tuple[DatasetId, str], _Wanted] = {}
    for step, jobs in _jobs_by_step(shard):
        for need in needs.by_step.get(step, ()):
            if not need.of.inputs or need.other is None or need.step is None:
                continue
            key = (need.of.dataset, need.of.step)
            one = found.setdefault(key, _Wanted(need.other, need.step))
            one.outputs.update(name for name, _ in need.of.inputs)
            one.tasks |= need.wanted(jobs)
    return dict(sorted(found.items()))


def _jobs_by_step(shard: Shard) -> Iterator[tuple[int, IntervalSet]]:
    for block in shard.blocks:
        for step in block.steps:
            yield step, block.jobs
