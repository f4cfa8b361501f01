"""The planner: which tasks go into a site's next bundle. Pure and deterministic.

Whole job DAGs go together, so that only edges that cross bundles wait. Jobs that were begun come
first, then fresh jobs in contiguous ranges, then steps per dataset whose parents are all done or in
the bundle. A job too large for the bundle goes as far as there is room, parents first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bundle.intervals import IntervalSet
from central.core.changes import implied_row
from central.core.controls import Controls
from central.core.dag import Dag
from central.core.facts import Place, TaskRow, Verdict

NO_JOBS = IntervalSet()


@dataclass(frozen=True, slots=True)
class View:
    """A dataset as the planner sees it.

    `fresh`: jobs of which no task per job has a row. `rows`: every row of the begun jobs that are
    looked at and of the steps per dataset. `done`: tasks done, by step. `steps`: those that may run
    at the site, None for all. `waits`: tasks that may not start yet, or not at this site. `blocks`:
    tasks of steps per block that were looked at; of others it is not known whether they have rows.
    """

    dag: Dag
    controls: Controls
    fresh: IntervalSet
    begun: tuple[int, ...]
    rows: Mapping[Place, TaskRow]
    done: Mapping[int, int]
    steps: frozenset[int] | None = None
    waits: frozenset[Place] = frozenset()
    blocks: frozenset[Place] = frozenset()


@dataclass(slots=True)
class Selection:
    """What goes into the bundle: `fresh` jobs x `prefix` steps, and places one by one."""

    fresh: IntervalSet = field(default_factory=IntervalSet)
    prefix: tuple[int, ...] = ()
    jobs: dict[int, list[Place]] = field(default_factory=dict)  # parents first
    whole: list[Place] = field(default_factory=list)  # steps per dataset, parents first

    def count(self) -> int:
        """Return how many tasks are selected."""
        places = sum(len(one) for one in self.jobs.values())
        return len(self.fresh) * len(self.prefix) + places + len(self.whole)


def select(view: View, tasks_max: int, job_tasks_max: int, *, strict: bool = False) -> Selection:
    """Return what to lease.

    Args:
        view: the dataset.
        tasks_max: how many tasks at most; a small job is never cut, so a few more are possible.
        job_tasks_max: a job with more tasks than this may be cut.
        strict: rather cut a small job than take more tasks than `tasks_max`.
    """
    chosen = Selection()
    standing = view.controls.whole
    if standing.removed or tasks_max <= 0:
        return chosen
    room = tasks_max
    for job in view.begun:
        if room <= 0:
            break
        places = _leasable(view, job)
        if len(places) > room and (len(places) > job_tasks_max or not chosen.count()):
            cuts = strict or len(places) > job_tasks_max
            places = places[: max(room, 0)] if cuts else places
        elif len(places) > room:
            break
        if places:
            chosen.jobs[job] = places
            room -= len(places)
    if not (standing.suspended or standing.cancelled):
        _select_fresh(view, chosen, room, job_tasks_max, strict=strict)
    if tasks_max > chosen.count() or not chosen.count():
        _select_whole(view, chosen, tasks_max - chosen.count())
    return chosen


def is_open(view: View, place: Place, row: TaskRow | None) -> bool:
    """Return whether a task can be leased as far as it is itself concerned."""
    if place in view.waits or (view.steps is not None and place[0] not in view.steps):
        return False
    verdict = (row or implied_row(view.dag, view.controls, place)).verdict
    if verdict is Verdict.READY:
        return True
    return verdict is Verdict.HELD and not view.controls.standing(place).suspended


def _leasable(view: View, job: int) -> list[Place]:
    """Return the tasks of a begun job that can run in one bundle, parents first."""
    dag = view.dag
    chosen: set[Place] = set()
    ordered: list[Place] = []
    for step in dag.order:
        place = (step, job)
        if dag.whole[step]:
            continue
        if is_open(view, place, view.rows.get(place)) and _met(view, place, chosen):
            chosen.add(place)
            ordered.append(place)
    return ordered


def _met(view: View, place: Place, chosen: set[Place]) -> bool:
    for parent in view.dag.parents(place):
        row = view.rows.get(parent)
        if not (row is not None and row.verdict is Verdict.DONE) and parent not in chosen:
            return False
    return True


class Steps(Protocol):
    """As much of a `Dag` as tells which steps a fresh job has."""

    @property
    def order(self) -> tuple[int, ...]:
        """The steps, parents before children."""

    @property
    def whole(self) -> tuple[bool, ...]:
        """For each step whether it runs once for the dataset."""

    @property
    def needs(self) -> tuple[tuple[int, ...], ...]:
        """For each step the steps it needs."""


def prefix_steps(dag: Steps, steps: frozenset[int] | None = None) -> tuple[int, ...]:
    """Return the steps per job that rest on steps per job alone, parents first.

    Args:
        dag: the dataset's.
        steps: those that may run at the site; None for all.
    """
    inside: set[int] = set()
    for step in dag.order:
        if steps is not None and step not in steps:
            continue
        if not dag.whole[step] and inside.issuperset(dag.needs[step]):
            inside.add(step)
    return tuple(step for step in dag.order if step in inside)


def _select_fresh(
    view: View, chosen: Selection, room: int, job_tasks_max: int, *, strict: bool
) -> None:
    prefix = prefix_steps(view.dag, view.steps)
    if not prefix or room <= 0 or not view.fresh.spans:
        return
    jobs = room // len(prefix)
    cuts = len(prefix) > job_tasks_max or (strict and not chosen.count())
    if jobs == 0 and cuts:
        job = view.fresh.spans[0][0]
        chosen.jobs[job] = [(step, job) for step in prefix[:room]]
        return
    if jobs == 0 and not chosen.count():
        jobs = 1
    chosen.prefix, chosen.fresh = prefix, view.fresh.take(jobs)


def _select_whole(view: View, chosen: Selection, room: int) -> None:
    """Add steps over several jobs, as far as all their parents are done or selected."""
    dag = view.dag
    steps = [step for step in dag.order if dag.whole[step]]
    if not steps:
        return
    there = _There(view, chosen)
    for step in steps:
        tasks = (0,) if dag.single[step] else there.blocks(step)
        for task in tasks:
            place = (step, task)
            if len(chosen.whole) >= max(room, 1):
                return
            if is_open(view, place, view.rows.get(place)) and there.met(place):
                there.add(place)
                chosen.whole.append(place)


class _There:
    """Which tasks are done or selected, as far as it is known; what is selected is added."""

    def __init__(self, view: View, chosen: Selection) -> None:
        self._view, self._chosen = view, chosen
        self._selected: dict[int, list[int]] = {}
        for places in chosen.jobs.values():
            for step, job in places:
                self._selected.setdefault(step, []).append(job)
        self._known = {step: set(jobs) for step, jobs in self._selected.items()}
        for (step, job), row in view.rows.items():
            if row.verdict is Verdict.DONE:
                self._known.setdefault(step, set()).add(job)

    def add(self, place: Place) -> None:
        self._selected.setdefault(place[0], []).append(place[1])
        self._known.setdefault(place[0], set()).add(place[1])

    def blocks(self, step: int) -> list[int]:
        """Return the blocks that are ready, or about jobs that are selected, ascending."""
        view, chosen = self._view, self._chosen
        jobs = chosen.fresh | IntervalSet.of(chosen.jobs)
        found = set(view.dag.covering(step, jobs)) if jobs.spans else set[int]()
        looked = {task for of, task in view.blocks if of == step}
        ready = {
            task
            for (of, task), row in view.rows.items()
            if of == step and row.verdict is Verdict.READY
        }
        return sorted((found & looked) | ready)

    def met(self, place: Place) -> bool:
        dag, view = self._view.dag, self._view
        row = view.rows.get(place)
        if row is not None and row.verdict is Verdict.READY:
            return True
        if dag.waits_for_jobs(place):
            return False
        for parent in dag.needs[place[0]]:
            tasks = dag.needed(place, parent)
            if dag.is_fan_in(place[0], parent) and dag.single[place[0]]:
                there = view.done.get(parent, 0) + self._many(parent)
            else:
                there = self._of(parent, tasks)
            if there < len(tasks):
                return False
        return True

    def _many(self, step: int) -> int:
        fresh = len(self._chosen.fresh) if step in self._chosen.prefix else 0
        return fresh + len(self._selected.get(step, ()))

    def _of(self, step: int, tasks: range) -> int:
        """Return how many of some tasks are known to be done, or selected."""
        known = self._known.get(step, set())
        found = sum(1 for task in tasks if task in known) if known else 0
        if step in self._chosen.prefix:
            found += len(self._chosen.fresh & IntervalSet(((tasks.start, tasks.stop),)))
        return found


def looked_at(
    dag: Dag,
    jobs: Iterable[int],
    fresh: IntervalSet = NO_JOBS,
    ready: Iterable[Place] = (),
) -> list[Place]:
    """Return the places whose rows a view needs.

    Args:
        dag: the dataset's.
        jobs: begun jobs that may be chosen.
        fresh: fresh jobs that may be chosen.
        ready: tasks of steps per block that are ready.
    """
    begun = tuple(jobs)
    places = [(step, 0) for step, single in enumerate(dag.single) if single]
    places += [(step, job) for step, whole in enumerate(dag.whole) if not whole for job in begun]
    blocks = {one for one in ready if dag.whole[one[0]] and not dag.single[one[0]]}
    near = fresh | IntervalSet.of(begun)
    for step, whole in enumerate(dag.whole):
        if whole and not dag.single[step] and near.spans:
            blocks.update((step, task) for task in dag.covering(step, near))
    return places + sorted(blocks)
