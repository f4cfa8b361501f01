"""A dataset with everything about its DAG that is worth computing once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from bundle.dataset import graph
from bundle.dataset.spec import Dataset, Per
from bundle.dataset.spec_hash import spec_hash
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
        """For each step whether it runs once for the dataset."""
        return tuple(step.per is Per.DATASET for step in self.dataset.steps)

    @cached_property
    def consumed_by(self) -> tuple[tuple[int, ...], ...]:
        """For each step the steps that read one of its outputs."""
        readers: list[list[int]] = [[] for _ in self.dataset.steps]
        for index, step in enumerate(self.dataset.steps):
            for parent in {one.step for one in step.inputs}:
                readers[parent].append(index)
        return tuple(tuple(row) for row in readers)

    def spec_hash(self, step: int) -> bytes:
        """Return a step's spec hash."""
        found = self._spec_hashes.get(step)
        if found is None:
            found = self._spec_hashes[step] = spec_hash(self.dataset, step)
        return found

    def holds(self, place: Place) -> bool:
        """Return whether there is such a task."""
        step, job = place
        return 0 <= step < len(self.whole) and 0 <= job < self.dataset.tasks_of(step)

    def is_fan_in(self, step: int, parent: int) -> bool:
        """Return whether a step needs every job of a parent."""
        return self.whole[step] and not self.whole[parent]

    def waits_for_jobs(self, step: int) -> bool:
        """Return whether a step needs every job of a dataset that is open for more of them."""
        return self.dataset.open and any(self.is_fan_in(step, one) for one in self.needs[step])

    def parents(self, place: Place) -> Iterator[Place]:
        """Yield the tasks that a task needs, but for those of a fan-in over jobs."""
        step, job = place
        for parent in self.needs[step]:
            if self.whole[parent]:
                yield parent, 0
            elif not self.whole[step]:
                yield parent, job

    def children_of(self, place: Place) -> Iterator[Place]:
        """Yield the tasks that need a task."""
        step, job = place
        for child in self.children[step]:
            if self.whole[child]:
                yield child, 0
            elif self.whole[step]:
                for every in range(self.dataset.jobs):
                    yield child, every
            else:
                yield child, job
