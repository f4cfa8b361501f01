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
from central.core.plan import NO_JOBS, View
from central.foreign import Needs
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
    workings: Workings,
    row: DatasetRow,
    dag: Dag,
    room: int,
    look: Look,
    needs: Needs | None = None,
) -> View:
    """Return a dataset as the planner is to see it for a site, with room for so many tasks.

    `needs`: what it needs of other datasets.
    """
    reading = Reading(workings, row)
    steps = None if len(look.runs.steps) == row.steps else look.runs.steps
    limit = room
    fresh = IntervalSet(((0, row.jobs),)) - row.touched
    partly, may = NO_JOBS, None
    if needs is not None:
        may = needs.open if needs.some() else None
        if closed := needs.closed():
            steps = look.runs.steps - closed
        fresh, partly = _fresh(needs, dag, steps, fresh, room)
    near = fresh.take(room) | partly
    if look.visit.has and any(dag.consumed_by):  # those near it may be later ones
        limit = max(room, min(FURTHER * room, NEAR_LOOKED_MAX))
    for turn in range(LOOKS_MAX):
        ready = reading.ready(limit, steps, may)
        jobs = sorted({job for step, job in ready if not dag.whole[step]}.union(partly))
        begun = jobs[: max(1, BEGUN_PLACES_MAX // row.steps)]
        places = planner.looked_at(dag, begun, near, ready)
        rows = {one.place: one for one in reading.rows(places)}
        waits = _waiting(workings, row, dag, rows.values(), look)
        if len(ready) < limit or len(ready) - len(waits) >= room or turn == LOOKS_MAX - 1:
            break
        limit *= FURTHER
    if may is not None and needs is not None:
        waits |= needs.waits(begun)
    controls = workings.controls(row)
    ordered = _nearest_first(reading, dag, begun, rows, look)
    blocks = frozenset(one for one in places if dag.whole[one[0]])
    done = reading.done_by_step()
    return View(dag, controls, fresh, ordered, rows, done, steps, waits, blocks)


def _fresh(
    needs: Needs, dag: Dag, steps: frozenset[int] | None, fresh: IntervalSet, room: int
) -> tuple[IntervalSet, IntervalSet]:
    """Return fresh jobs that can go as they are, and those of which only some steps can."""
    prefix = planner.prefix_steps(dag, steps)
    gated = needs.some().intersection(prefix)
    if not gated:
        return fresh, NO_JOBS
    whole = needs.first_open(fresh, gated, room).take(room)
    among = frozenset(range(len(dag.whole))) if steps is None else steps
    if len(whole) >= room or not planner.prefix_steps(dag, among - gated):
        return whole, NO_JOBS
    return whole, (fresh - whole).take(room - len(whole))


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
