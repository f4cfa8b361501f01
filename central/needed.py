"""What a dataset waits for of others, for people: counts, tasks, and why those are not done.

Of a dataset that who asks may not read, only the id is told, which the document has anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bundle.dataset.foreign import Which
from bundle.ids import DatasetId, Task
from central import others
from central.core.authorise import Principal
from central.core.dag import Dag
from central.core.facts import Place
from central.core.obstacles import Code, Obstacle
from central.foreign import Gate, Need, Needs, Other, travels
from central.workings import Workings

LOOKED_MAX = 4096  # tasks that are looked at for the first one that is not done, or lacks files

Reason = Callable[[Task], Obstacle]
"""Return what is in the way of a task of another dataset."""


def shown(workings: Workings, dataset: DatasetId, by: Principal) -> dict[str, Any]:
    """Return what each step needs of other datasets, and how far that is."""
    dag = workings.dag(workings.dataset(dataset).digest)
    needs = Needs(workings, dag).by_step if dag.has_foreign else {}
    rows = [
        _row(workings, dag, step, one, by) for step, several in needs.items() for one in several
    ]
    return {"dataset": dataset, "needs": rows}


def _row(workings: Workings, dag: Dag, step: int, one: Need, by: Principal) -> dict[str, Any]:
    found: dict[str, Any] = {
        "step": dag.dataset.steps[step].name,
        "dataset": one.of.dataset,
        "of_step": one.of.step,
        "jobs": one.of.which.value,
        "inputs": [{"output": output, "as": name} for output, name in one.of.inputs],
        "name": None,
        "done": None,
        "tasks": None,
        "state": "hidden",
    }
    other = one.other
    if other is None or other.is_removed:
        return found | {"state": "gone"}
    if not others.may_read(workings, other.row, by):
        return found
    done, tasks = one.counted()
    state = "changed" if one.step is None else _state(one, other)
    return found | {"name": other.row.name, "done": done, "tasks": tasks, "state": state}


def _state(one: Need, other: Other) -> str:
    if one.gate() is Gate.OPEN:
        return "met"
    return "open" if one.of.which is Which.ALL and other.dag.dataset.open else "waiting"


def obstacles(
    workings: Workings, dag: Dag, place: Place, by: Principal, reason: Reason
) -> Iterator[Obstacle]:
    """Yield what of other datasets keeps a task from being given out; `reason` explains theirs."""
    if not dag.dataset.steps[place[0]].foreign:
        return
    job = np.array([place[1]], np.int64)
    for one in Needs(workings, dag).by_step[place[0]]:
        is_met = one.gate() is Gate.OPEN
        if not is_met and one.of.which is Which.SAME and one.step is not None:
            is_met = bool(one.open(job)[0])
        if is_met:
            yield from _lost(workings, one, place[1], by)
        else:
            yield _unmet(workings, one, place[1], by, reason)


def _unmet(workings: Workings, one: Need, job: int, by: Principal, reason: Reason) -> Obstacle:
    of, other = one.of, one.other
    code = Code.OTHER_DATASET
    if other is None or other.is_removed:
        text = f"it needs step {of.step} of dataset {of.dataset}, which is not there any more"
        return Obstacle(code, text, remedy="edit the document: name another dataset")
    if not others.may_read(workings, other.row, by):
        text = f"it waits for step {of.step} of dataset {of.dataset}, which you may not read"
        return Obstacle(code, text, remedy="ask whoever sees that dataset")
    named = f"{other.row.name} ({other.row.id})"
    if one.step is None:
        text = f"it needs step {of.step} of {named} with outputs that an edit took away there"
        return Obstacle(code, text, remedy="edit this document or that one")
    done, tasks = one.counted()
    has = f"{done} of {tasks} done"
    if of.which is Which.ALL and other.dag.dataset.open:
        text = f"it waits for all tasks of step {of.step} of {named}, which is open for more jobs"
        return Obstacle(code, text, "all done", has, f"`pulk dataset close {other.row.id}`")
    first = job // other.dag.spans[one.step] if of.which is Which.SAME else _first(one)
    if first >= tasks:
        text = f"it waits for job {job} of {named}, which has {other.row.jobs} jobs"
        more = job + 1 - other.row.jobs
        remedy = f"`pulk dataset extend {other.row.id} {more}`, or truncate this one"
        return Obstacle(code, text, remedy=remedy)
    task = Task(other.row.id, first, one.step)
    why = reason(task)
    what = f"task {first}" if of.which is Which.SAME else f"all {tasks} tasks"
    text = f"it waits for {what} of step {of.step} of {named}"
    root = f"{has}; {task}: {why.code.value}, {why.text}"
    return Obstacle(code, text, "success there", root, why.remedy or f"`pulk why {task}`")


def _first(one: Need) -> int:
    """Return the first task that is not done, among those that are looked at."""
    other, step = one.other, one.step
    assert other is not None  # noqa: S101  who asks looked
    assert step is not None  # noqa: S101
    total = other.tasks(step)
    for low in range(0, total, LOOKED_MAX):
        tasks = np.arange(low, min(low + LOOKED_MAX, total))
        open_ones = tasks[~other.reading.done(step, tasks)]
        if len(open_ones):
            return int(open_ones[0])
    return 0


def _lost(workings: Workings, one: Need, job: int, by: Principal) -> Iterator[Obstacle]:
    """Say which of the files that it reads are not at central, of the first tasks that it reads."""
    other, step = one.other, one.step
    if other is None or step is None or not one.of.inputs:
        return
    if one.of.which is Which.SAME:
        places = [(step, job // other.dag.spans[step])]
    else:
        places = [(step, task) for task in range(min(other.tasks(step), LOOKED_MAX))]
    numbers = [other.outputs(step)[name] for name, _ in one.of.inputs]
    read = {
        place: [built.outputs[number][0] for number in numbers]
        for place, built in other.reading.built(places).items()
    }
    known = workings.store.tasks.files({file for files in read.values() for file in files})
    lost = sorted(task for (_, task), files in read.items() if any(f not in known for f in files))
    if lost:
        may = others.may_read(workings, other.row, by)
        named = f"{other.row.name} ({other.row.id})" if may else str(other.row.id)
        text = f"outputs of task {lost[0]} of step {one.of.step} of {named} did not travel home"
        remedy = f"`pulk dataset reset {other.row.id} --step {one.of.step} --jobs {lost[0]}`"
        if not travels(other.dag, step):
            remedy = f"an edit of that dataset with keep = true for its outputs, then {remedy}"
        yield Obstacle(Code.INPUTS_NOWHERE, text, "their files", "none", f"{remedy} by its owner")
