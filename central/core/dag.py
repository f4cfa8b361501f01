"""A dataset with everything about its DAG that is worth computing once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from bundle.dataset import graph
from bundle.dataset.content import BLOCKS_MAX
from bundle.dataset.spec import Dataset, Per
from bundle.dataset.spec_hash import spec_hash
from bundle.ids import JOB_MAX
from bundle.intervals import IntervalSet
from central.core.facts import Place


class Dag:
    """Tables over the steps of one dataset document; cached by its digest."""

    def __init__(self, dataset: Dataset, digest: bytes) -> None:
        """Take a checked dataset and the digest of its document."""
        self.dataset = dataset
        self.digest = digest
        self._spec_hashes: dict[int, bytes] = {}

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The steps, parents before children."""
        return graph.order(self.dataset)

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """For each step the steps that need it."""
        return graph.children_steps(self.dataset)

    @cached_property
    def needs(self) -> tuple[tuple[int, ...], ...]:
        """For each step the steps it needs, ascending."""
        return tuple(tuple(sorted(step.needs)) for step in self.dataset.steps)

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """For each step how many steps lie above it at most."""
        levels = [0] * len(self.dataset.steps)
        for step in self.order:
            levels[step] = 1 + max((levels[one] for one in self.needs[step]), default=-1)
        return tuple(levels)

    @cached_property
    def whole(self) -> tuple[bool, ...]:
        """For each step whether its tasks are about several jobs: each of them has a row."""
        return tuple(step.per is not Per.JOB for step in self.dataset.steps)

    @cached_property
    def single(self) -> tuple[bool, ...]:
        """For each step whether it runs once for the dataset."""
        return tuple(step.per is Per.DATASET for step in self.dataset.steps)

    @cached_property
    def spans(self) -> tuple[int, ...]:
        """For each step how many jobs each of its tasks is about.

        A step per dataset is about any job, for a dataset may have had more of them than now.
        """
        return tuple(
            JOB_MAX + 1 if single else self.dataset.span(step)
            for step, single in enumerate(self.single)
        )

    @cached_property
    def consumed_by(self) -> tuple[tuple[int, ...], ...]:
        """For each step the steps that read one of its outputs."""
        readers: list[list[int]] = [[] for _ in self.dataset.steps]
        for index, step in enumerate(self.dataset.steps):
            for parent in {one.step for one in step.inputs}:
                readers[parent].append(index)
        return tuple(tuple(row) for row in readers)

    @cached_property
    def has_foreign(self) -> bool:
        """Whether a step needs tasks of another dataset."""
        return any(step.foreign for step in self.dataset.steps)

    def spec_hash(self, step: int) -> bytes:
        """Return a step's spec hash."""
        found = self._spec_hashes.get(step)
        if found is None:
            found = self._spec_hashes[step] = spec_hash(self.dataset, step)
        return found

    def past(self, step: int, jobs_past: int) -> int:
        """Return a number that no task of a step reaches, where jobs were begun below `jobs_past`.

        The dataset may have had more blocks of jobs than now.
        """
        if self.single[step]:
            return 1
        return BLOCKS_MAX if self.whole[step] else jobs_past

    @cached_property
    def tasks(self) -> tuple[int, ...]:
        """How many tasks each step has."""
        return tuple(self.dataset.tasks_of(step) for step in range(len(self.dataset.steps)))

    def holds(self, place: Place) -> bool:
        """Return whether there is such a task."""
        step, job = place
        return 0 <= step < len(self.whole) and 0 <= job < self.tasks[step]

    def is_fan_in(self, step: int, parent: int) -> bool:
        """Return whether a task of a step needs several tasks of a parent."""
        return parent in self._gathered[step]

    @cached_property
    def _gathered(self) -> tuple[frozenset[int], ...]:
        return tuple(
            frozenset(one for one in needs if graph.is_fan_in(self.dataset, step, one))
            for step, needs in enumerate(self.needs)
        )

    def needed(self, place: Place, parent: int) -> range:
        """Return which tasks of a parent a task needs."""
        return graph.needed(self.dataset, *place, parent)

    def needing(self, place: Place, child: int) -> range:
        """Return which tasks of a child need a task."""
        return graph.needing(self.dataset, *place, child)

    def waits_for_jobs(self, place: Place) -> bool:
        """Return whether a task needs jobs that are still to come: its dataset is open for more."""
        step, task = place
        if not self.dataset.open or not self._gathered[step]:
            return False
        return self.single[step] or (task + 1) * self.spans[step] > self.dataset.jobs

    def parents(self, place: Place) -> Iterator[Place]:
        """Yield the tasks that a task needs, but for those of a fan-in."""
        step, job = place
        for parent in self.needs[step]:
            if not self.is_fan_in(step, parent):
                yield parent, 0 if self.single[parent] else job

    def fan_ins(self, place: Place) -> Iterator[Place]:
        """Yield the tasks that a task needs of its fan-ins, by step, then job."""
        step = place[0]
        for parent in self.needs[step]:
            if self.is_fan_in(step, parent):
                yield from ((parent, job) for job in self.needed(place, parent))

    def children_of(self, place: Place) -> Iterator[Place]:
        """Yield the tasks that need a task."""
        for child in self.children[place[0]]:
            for job in self.needing(place, child):
                yield child, job

    def reached(self, step: int, jobs: IntervalSet, child: int) -> IntervalSet:
        """Return which tasks of a child need some of a step's."""
        if not jobs.spans or self.single[child]:
            return IntervalSet(((0, 1),)) if jobs.spans else jobs
        if self.single[step]:
            return IntervalSet(((0, self.dataset.tasks_of(child)),))
        if self.spans[child] == self.spans[step] and self.whole[child] == self.whole[step]:
            return jobs
        return self.covering(child, jobs)

    def covering(self, step: int, jobs: IntervalSet) -> IntervalSet:
        """Return which tasks of a step are about some of these jobs."""
        span = self.spans[step]
        if span == 1:
            return jobs
        return IntervalSet.spanning(
            (low // span, (past - 1) // span + 1) for low, past in jobs.spans
        )
