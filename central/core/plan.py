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


@dataclass(frozen=True, slots=True)
class View:
    """A dataset as the planner sees it.

    `fresh`: jobs of which no task per job has a row. `rows`: every row of the begun jobs that are
    looked at and of the steps per dataset. `done`: tasks done, by step. `steps`: those that may run
    at the site, None for all. `waits`: tasks that may not start yet, or not at this site.
    """

    dag: Dag
    controls: Controls
    fresh: IntervalSet
    begun: tuple[int, ...]
    rows: Mapping[Place, TaskRow]
    done: Mapping[int, int]
    steps: frozenset[int] | None = None
    waits: frozenset[Place] = frozenset()


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
    """Add steps per dataset, as far as all their parents are done or selected."""
    dag = view.dag
    steps = [step for step in dag.order if dag.whole[step]]
    if not steps:
        return
    selected = _selected_per_step(chosen)
    inside: set[Place] = set()
    for step in steps:
        place = (step, 0)
        if len(inside) >= max(room, 1):
            break
        if not is_open(view, place, view.rows.get(place)):
            continue
        if _whole_met(view, step, selected, inside):
            inside.add(place)
            chosen.whole.append(place)


def _selected_per_step(chosen: Selection) -> dict[int, int]:
    selected = dict.fromkeys(chosen.prefix, len(chosen.fresh))
    for places in chosen.jobs.values():
        for step, _ in places:
            selected[step] = selected.get(step, 0) + 1
    return selected


def _whole_met(view: View, step: int, selected: Mapping[int, int], inside: set[Place]) -> bool:
    dag = view.dag
    if dag.waits_for_jobs(step):
        return False
    for parent in dag.needs[step]:
        if dag.whole[parent]:
            row = view.rows.get((parent, 0))
            if (parent, 0) not in inside and not (row and row.verdict is Verdict.DONE):
                return False
        elif view.done.get(parent, 0) + selected.get(parent, 0) < dag.dataset.jobs:
            return False
    return True


def looked_at(dag: Dag, jobs: Iterable[int]) -> list[Place]:
    """Return the places whose rows a view of these begun jobs needs."""
    begun = tuple(jobs)
    places = [(step, 0) for step, whole in enumerate(dag.whole) if whole]
    places += [(step, job) for step, whole in enumerate(dag.whole) if not whole for job in begun]
    return places
