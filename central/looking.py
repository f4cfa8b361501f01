"""Looking at one dataset for one site: its begun jobs, what of them waits, whose inputs lie there.

What is fresh costs nothing to look at; begun jobs cost their rows. A task that failed may have to
wait, and one that ran out of more than the site has must not go there again: only for those are
attempts read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bundle.intervals import IntervalSet
from bundle.records.profile import Profile
from bundle.records.rules import AMOUNT_MAX, Maximum
from central import histories
from central.board import Runs
from central.core import plan as planner
from central.core import retry
from central.core.dag import Dag
from central.core.facts import Place, TaskRow, Verdict
from central.core.plan import View
from central.state.reading import Reading
from central.store.rows import DatasetRow
from central.visit import Visit
from central.workings import Workings

BEGUN_PLACES_MAX = 200_000  # rows of begun jobs that one plan looks at
FAR_US = 2**62
LOOKS_MAX = 4  # further into a dataset whose first ready tasks all wait
FURTHER = 8
NEAR_LOOKED_MAX = 20_000  # ready tasks among which those near a site are found


@dataclass(slots=True)
class Look:
    """How a dataset is looked at.

    `is_barren`: there was nothing to take. `again_us`: when what waits now may go; 0: it must be
    stirred first.
    """

    visit: Visit
    runs: Runs
    now_us: int
    again_us: int = 0
    is_barren: bool = False


def view(
    workings: Workings, row: DatasetRow, dag: Dag, done: dict[int, int], room: int, look: Look
) -> View:
    """Return a dataset as the planner is to see it for a site, with room for so many tasks."""
    reading = Reading(workings, row)
    steps = None if len(look.runs.steps) == row.steps else look.runs.steps
    limit = room
    if look.visit.has and any(dag.consumed_by):  # those near it may be later ones
        limit = max(room, min(FURTHER * room, NEAR_LOOKED_MAX))
    for turn in range(LOOKS_MAX):
        ready = reading.ready(limit, steps)
        jobs = sorted({job for step, job in ready if not dag.whole[step]})
        begun = jobs[: max(1, BEGUN_PLACES_MAX // row.steps)]
        rows = {one.place: one for one in reading.rows(planner.looked_at(dag, begun))}
        waits = _waiting(workings, row, dag, rows.values(), look)
        if len(ready) < limit or len(ready) - len(waits) >= room or turn == LOOKS_MAX - 1:
            break
        limit *= FURTHER
    fresh = IntervalSet(((0, row.jobs),)) - row.touched
    controls = workings.controls(row)
    ordered = _nearest_first(reading, dag, begun, rows, look)
    return View(dag, controls, fresh, ordered, rows, done, steps, waits)


def maximum(profile: Profile) -> Maximum:
    """Return the most that a task can get at a site."""
    told = (profile.memory_mib, profile.task_ms, profile.disk_bytes)
    return Maximum(*(min(one, AMOUNT_MAX) for one in told))


def _waiting(
    workings: Workings, row: DatasetRow, dag: Dag, rows: Iterable[TaskRow], look: Look
) -> frozenset[Place]:
    """Return the tasks that backed off, or that ran out of more than the site has."""
    tried = histories.tried(workings, row, dag, histories.failed(rows))
    due = histories.due(row.id, dag, tried, look.now_us)
    if due:
        look.again_us = min(look.again_us or FAR_US, *due.values())
    most = maximum(look.visit.profile)
    outgrown = {place for place, known in tried.items() if retry.outgrown(known, most)}
    return frozenset(due) | outgrown


def _nearest_first(
    reading: Reading,
    dag: Dag,
    begun: list[int],
    rows: dict[Place, TaskRow],
    look: Look,
) -> tuple[int, ...]:
    """Return begun jobs: first those of which the site holds an input, then the others."""
    readers = [step for step, one in enumerate(dag.dataset.steps) if one.inputs]
    if not look.visit.has or not readers or not begun:
        return tuple(begun)
    made = [
        place
        for place, one in rows.items()
        if one.verdict is Verdict.DONE and dag.consumed_by[place[0]] and not dag.whole[place[0]]
    ]
    near = {
        job
        for (_, job), one in reading.built(made).items()
        if any(file in look.visit.has for file, _ in one.outputs)
    }
    return tuple(sorted(begun, key=lambda job: (job not in near, job)))
