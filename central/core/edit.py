"""What an edit of a dataset's document may change, and which steps' results it makes stale.

Steps and needs are what tasks are named by: those stay. So does the number of jobs, unless it is
what is asked for. Whatever determines no output (requests, requirements, priorities, caps of retry)
is changed without any result being lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bundle.dataset.spec import Dataset
from bundle.intervals import IntervalSet
from central.core.controls import make_region, spelled
from central.core.dag import Dag
from central.core.facts import Control, ControlWord

SPANS_MAX = 1000  # of jobs that one reset names; beyond it the gaps between them are reset too


def difference(before: Dataset, after: Dataset) -> str:
    """Return why a document can't take another one's place, or nothing."""
    if before.jobs != after.jobs:
        return f"it has {after.jobs} jobs instead of {before.jobs}; extend or truncate it instead"
    if len(before.steps) != len(after.steps):
        return f"it has {len(after.steps)} steps instead of {len(before.steps)}"
    for number, (old, new) in enumerate(zip(before.steps, after.steps, strict=True)):
        if old.name != new.name:
            return f"its step {number} is {new.name!r} instead of {old.name!r}"
        if old.per is not new.per:
            return f"its step {new.name!r} runs once per {new.per} instead of once per {old.per}"
        if old.block_jobs != new.block_jobs:
            return (
                f"its step {new.name!r} gathers {new.block_jobs} jobs instead of {old.block_jobs}"
            )
        if set(old.needs) != set(new.needs):
            names = [
                ", ".join(before.steps[one].name for one in sorted(needs)) or "nothing"
                for needs in (new.needs, old.needs)
            ]
            return f"its step {new.name!r} needs {names[0]} instead of {names[1]}"
    return ""


@dataclass(frozen=True, slots=True)
class Size:
    """How many jobs a dataset is to have: so many, or so many more; None leaves what there is.

    `open`: whether more may come, so that what needs all of them waits.
    """

    jobs: int | None = None
    more: int | None = None
    open: bool | None = None


def resized(before: Dataset, size: Size) -> Dataset:
    """Return a document with another number of jobs, open or closed."""
    jobs = before.jobs if size.jobs is None else size.jobs
    return replace(
        before,
        jobs=jobs + (size.more or 0),
        open=before.open if size.open is None else size.open,
    )


def changed_steps(before: Dag, now: Dag) -> frozenset[int]:
    """Return the steps that compute something else now."""
    steps = range(len(now.whole))
    return frozenset(one for one in steps if before.spec_hash(one) != now.spec_hash(one))


def stale_steps(before: Dag, now: Dag) -> frozenset[int]:
    """Return the steps that compute something else now, and all that are computed from them."""
    found = set(changed_steps(before, now))
    for step in now.order:
        if found.intersection(now.needs[step]):
            found.add(step)
    return frozenset(found)


def cut_blocks(before: Dag, now: Dag) -> dict[int, IntervalSet]:
    """Return by step the blocks of jobs that are other tasks by another number of jobs.

    Those are the last ones, before and now, where they lack jobs. What either of them made, now or
    at a time when the dataset had that many jobs before, must not count for it as it is now.
    """
    sizes = {before.dataset.jobs, now.dataset.jobs}
    if len(sizes) == 1:
        return {}
    found: dict[int, IntervalSet] = {}
    for step, span in enumerate(now.spans):
        cut = [jobs // span for jobs in sizes if jobs % span]
        if now.whole[step] and not now.single[step] and cut:
            found[step] = IntervalSet.of(cut)
    return found


Begun = Callable[[int, IntervalSet], IntervalSet]


def all_of(step: int, tasks: IntervalSet) -> IntervalSet:
    """Take something to have happened to every task."""
    del step
    return tasks


def controls_of(
    dags: tuple[Dag, Dag], touched: IntervalSet, control: Control, begun: Begun = all_of
) -> tuple[Control, ...]:
    """Return what an edit makes of a dataset: the edit itself, and a reset of what it makes stale.

    The reset takes the stale results, and the pins on them, out of the generation in force: where a
    later edit takes this one back, `adopt` counts them again.

    Args:
        dags: before and now.
        touched: jobs that something happened to; nothing else has results.
        control: the edit.
        begun: which of some tasks of a step per block something happened to; a block of an open
            dataset that lacks jobs was never begun, and to feed it needs no reset.
    """
    before, now = dags
    jobs = touched
    if len(jobs.spans) > SPANS_MAX:
        jobs = IntervalSet(((jobs.spans[0][0], jobs.spans[-1][1]),))
    stale = dict(make_region(now, changed_steps(before, now), jobs))
    for step, its in cut_blocks(before, now).items():
        stale[step] = stale.get(step, IntervalSet()) | begun(step, its)
    regions = tuple(
        (step, its if now.whole[step] else its & jobs)
        for step, its in spelled(now, stale, cascades=True)
        if now.whole[step] or (its & jobs).spans
    )
    if not regions:
        return (control,)
    reset = Control(ControlWord.RESET, regions, control.epoch, control.commit)
    return (control, reset)
