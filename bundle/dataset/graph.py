"""The DAG of a dataset: who needs whom, in which order, and what is wrong with it.

All of it is linear in steps plus edges. `parents` is called per task: it makes no tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from bundle.dataset import content, macros
from bundle.dataset.refusals import CycleFound, DatasetRefused, DuplicateName, UnknownStep
from bundle.dataset.spec import Dataset, Per

CYCLE_NAMES_SHOWN_MAX = 12

__all__ = [
    "CycleFound",
    "DatasetRefused",
    "check",
    "children_steps",
    "is_fan_in",
    "needed",
    "needing",
    "order",
    "parents",
]


def parents(dataset: Dataset, step: int, job: int) -> tuple[tuple[int, int], ...]:
    """Return the (step, job) pairs that a task needs, by step, then job.

    See `needed`, which says which tasks of each parent.
    """
    return tuple(
        (parent, every)
        for parent in sorted(dataset.steps[step].needs)
        for every in needed(dataset, step, job, parent)
    )


def needed(dataset: Dataset, step: int, job: int, parent: int) -> range:
    """Return which tasks of a parent a task needs: those about its own jobs.

    A step over many jobs needs every task about one of them; a step per job needs job 0 of a
    parent per dataset.
    """
    its, theirs = dataset.steps[step].per, dataset.steps[parent].per
    if theirs is Per.DATASET:
        return range(1)
    if its is theirs:  # blocks that need each other are of one size
        return range(job, job + 1)
    if its is Per.DATASET:
        return range(dataset.tasks_of(parent))
    low = job * dataset.span(step)  # nothing is left of a block that the dataset has no more
    return range(low, max(low, min(low + dataset.span(step), dataset.jobs)))


def needing(dataset: Dataset, step: int, job: int, child: int) -> range:
    """Return which tasks of a child need a task: the other way round of `needed`."""
    its, theirs = dataset.steps[step].per, dataset.steps[child].per
    if theirs is Per.DATASET:
        return range(1)
    if its is theirs:
        return range(job, job + 1)
    if its is Per.DATASET:
        return range(dataset.tasks_of(child))
    block = job // dataset.span(child)
    return range(block, block + 1)


def is_fan_in(dataset: Dataset, step: int, parent: int) -> bool:
    """Return whether a step's tasks need several tasks of a parent."""
    theirs = dataset.steps[parent].per
    return theirs not in (Per.DATASET, dataset.steps[step].per)


def children_steps(dataset: Dataset) -> tuple[tuple[int, ...], ...]:
    """Return for each step the steps that need it, ascending. Linear: call it once and keep it."""
    children: list[list[int]] = [[] for _ in dataset.steps]
    for index, step in enumerate(dataset.steps):
        for parent in step.needs:
            children[parent].append(index)
    return tuple(tuple(row) for row in children)


def order(dataset: Dataset) -> tuple[int, ...]:
    """Return the steps, parents before children, smallest index first. Raises CycleFound."""
    missing = [len(step.needs) for step in dataset.steps]
    children = children_steps(dataset)
    free = [index for index, count in enumerate(missing) if count == 0]
    heapify(free)
    sorted_steps: list[int] = []
    while free:
        step = heappop(free)
        sorted_steps.append(step)
        for child in children[step]:
            missing[child] -= 1
            if missing[child] == 0:
                heappush(free, child)
    if len(sorted_steps) < len(missing):
        _refuse_cycle(dataset, missing)
    return tuple(sorted_steps)


def check(dataset: Dataset) -> None:
    """Refuse a dataset that cannot run as written; raises a DatasetRefused that names the place.

    Checked: limits, names, needs, cycles, inputs, outputs, files, requests, and every macro.
    """
    content.check_dataset(dataset)
    _check_needs(dataset)
    order(dataset)
    files = frozenset(name for name, _ in dataset.files)
    for index, step in enumerate(dataset.steps):
        content.check_step(dataset, index, step, files)
    macros.check(dataset)


def _check_needs(dataset: Dataset) -> None:
    count = len(dataset.steps)
    for index, step in enumerate(dataset.steps):
        seen: set[int] = set()
        for place, parent in enumerate(step.needs):
            where = f"steps[{index}].needs[{place}]"
            if not 0 <= parent < count:
                raise UnknownStep(
                    where=where, step=parent, hint=f"there are steps 0 to {count - 1}"
                )
            if parent in seen:
                name = dataset.steps[parent].name
                raise DuplicateName(where=where, name=name, taken_by="an earlier need")
            seen.add(parent)
        _check_blocks(dataset, index)


def _check_blocks(dataset: Dataset, index: int) -> None:
    """Refuse blocks of unlike sizes that need each other, and jobs that need blocks."""
    step, gathers = dataset.steps[index], False
    for place, parent in enumerate(step.needs):
        other, where = dataset.steps[parent], f"steps[{index}].needs[{place}]"
        gathers = gathers or other.per is not Per.DATASET
        if other.per is not Per.BLOCK:
            continue
        if step.per is Per.JOB:
            reason = f"a step per job cannot need {other.name}, which runs per block of jobs"
            raise DatasetRefused(where=where, reason=f"{reason}: run it per block, or per dataset")
        if step.per is Per.BLOCK and step.block_jobs != other.block_jobs:
            reason = f"{other.name} has blocks of {other.block_jobs} jobs, not {step.block_jobs}"
            raise DatasetRefused(where=where, reason=f"{reason}: give both the same jobs_per_task")
    if step.per is Per.BLOCK and not gathers:
        reason = "a step per block gathers what a step per job, or another per block, made"
        raise DatasetRefused(where=f"steps[{index}].needs", reason=f"{reason}: name one")


def _refuse_cycle(dataset: Dataset, missing: Sequence[int]) -> None:
    """Walk upwards among the steps that never became free until one comes round again."""
    step = next(index for index, count in enumerate(missing) if count)
    place_of: dict[int, int] = {}
    walk: list[int] = []
    while step not in place_of:
        place_of[step] = len(walk)
        walk.append(step)
        step = min(parent for parent in dataset.steps[step].needs if missing[parent])
    circle = [*walk[place_of[step] :], step]
    circle.reverse()  # as the work would flow: parent -> child
    names = [dataset.steps[one].name for one in circle]
    if len(names) > CYCLE_NAMES_SHOWN_MAX:
        names[CYCLE_NAMES_SHOWN_MAX - 1 : -1] = ["..."]
    raise CycleFound(where=f"steps[{circle[-1]}].needs", steps=" -> ".join(names))
