"""What a lease says of the tasks of other datasets that its tasks were given out upon.

It is the fact of what was consumed: whatever becomes of the other dataset later, these files are
what the leased tasks read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bundle import shape
from bundle.dataset.foreign import Foreign, Which
from bundle.dataset.spec import Step
from bundle.ids import DatasetId

File = tuple[bytes, int]
"""A file's digest and its size in bytes."""


@dataclass(frozen=True, slots=True)
class ForeignTask:
    """A success of another dataset's task; `files` in the order of the names they are read by."""

    task: int
    generation: int
    attempt: str  # text form of the attempt key
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class ForeignPins:
    """The tasks of one step of another dataset. `span`: how many jobs each of them is about."""

    dataset: DatasetId
    step: str
    span: int
    outputs: tuple[str, ...]  # the names of those that are read
    tasks: tuple[ForeignTask, ...]  # ascending

    def about(self, job: int) -> tuple[ForeignTask, ...]:
        """Return the task about a job, where it is among them."""
        task = job // self.span
        at = bisect_left(self.tasks, task, key=lambda one: one.task)
        return tuple(one for one in self.tasks[at : at + 1] if one.task == task)

    def file(self, task: ForeignTask, output: str) -> File:
        """Return one of a task's files. Raises ValueError where it was not brought."""
        return task.files[self.outputs.index(output)]


def read_by(
    step: Step, job: int, several: Iterable[ForeignPins]
) -> Iterator[tuple[Foreign, ForeignPins, ForeignTask]]:
    """Yield the tasks of other datasets that the task of a step about a job reads."""
    known = {(one.dataset, one.step): one for one in several}
    for need in step.foreign:
        pins = known.get((need.dataset, need.step))
        if pins is not None and need.inputs:
            tasks = pins.tasks if need.which is Which.ALL else pins.about(job)
            yield from ((need, pins, task) for task in tasks)


def files_of(several: Iterable[ForeignPins]) -> frozenset[bytes]:
    """Return the digests of all files."""
    return frozenset(file for one in several for task in one.tasks for file, _ in task.files)


def to_wire(several: Iterable[ForeignPins]) -> list[Any]:
    """Return them as plain values."""
    return [
        [
            one.dataset,
            one.step,
            one.span,
            list(one.outputs),
            [
                [task.task, task.generation, task.attempt, [list(file) for file in task.files]]
                for task in one.tasks
            ],
        ]
        for one in several
    ]


def from_wire(row: shape.Reader) -> ForeignPins:
    """Read those of one step. Raises WrongShape."""
    found = ForeignPins(
        DatasetId(row.text(0)), row.text(1), row.count(2), row.texts(3), tuple(_tasks(row))
    )
    if not found.span:
        raise shape.WrongShape(where=f"{row.where}[2]", expected="1 or more jobs", found="0")
    return found


def _tasks(row: shape.Reader) -> Iterable[ForeignTask]:
    outputs = len(row.texts(3))
    for one in row.readers(4):
        files = tuple((file.bytes(0, 32), file.count(1)) for file in one.readers(3))
        if len(files) != outputs:
            found = f"{len(files)} files"
            raise shape.WrongShape(where=one.where, expected=f"{outputs} files", found=found)
        yield ForeignTask(one.count(0), one.count(1), one.text(2), files)
