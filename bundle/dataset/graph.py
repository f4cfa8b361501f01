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

__all__ = ["CycleFound", "DatasetRefused", "check", "children_steps", "order", "parents"]


def parents(dataset: Dataset, step: int, job: int) -> tuple[tuple[int, int], ...]:
    """Return the (step, job) pairs that a task needs, by step, then job.

    A step per dataset needs every job of a parent per job; a step per job needs job 0 of a parent
    per dataset.
    """
    steps = dataset.steps
    one = steps[step]
    found: list[tuple[int, int]] = []
    for parent in sorted(one.needs):
        if steps[parent].per is Per.DATASET:
            found.append((parent, 0))
        elif one.per is Per.DATASET:
            found.extend((parent, every) for every in range(dataset.jobs))
        else:
            found.append((parent, job))
    return tuple(found)


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
    for index, step in enumerate(dataset.steps):
        content.check_step(dataset, index, step)
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
