"""From the store to retry: the histories of tasks that are to be leased, and when they may be."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from bundle.ids import DatasetId, Task
from bundle.records.rules import NO_HISTORY, History
from central.core import retry
from central.core.dag import Dag
from central.core.facts import AttemptFact, Place, TaskRow, Verdict
from central.state.reading import Reading
from central.store.rows import DatasetRow
from central.workings import Workings

OPEN = frozenset({Verdict.READY, Verdict.HELD})


def tried(
    workings: Workings, row: DatasetRow, dag: Dag, places: Collection[Place]
) -> dict[Place, History]:
    """Return the histories of those tasks that have one; a few queries, however many places."""
    found: dict[Place, list[AttemptFact]] = {}
    if places:
        for one in Reading(workings, row).tried(places):
            if retry.matters(one):
                found.setdefault(one.place, []).append(one)
    controls = workings.controls(row)
    known = {
        place: retry.history(facts, controls.standing(place).takes, dag.spec_hash(place[0]))
        for place, facts in found.items()
    }
    return {place: one for place, one in known.items() if one != NO_HISTORY}


def shown(workings: Workings, row: DatasetRow, place: Place) -> dict[str, Any]:
    """Return what a task's retry rests on, for people; `exhausted` is empty where it is tried."""
    dag = workings.dag(row.digest)
    step = dag.dataset.steps[place[0]]
    known = tried(workings, row, dag, [place]).get(place, NO_HISTORY)
    wait = due(row.id, dag, {place: known}, workings.clock_us())
    return {
        "failures": {str(fate): many for fate, many in known.failures},
        "pilots_lost": len(known.lost_on),
        "losses": known.losses,
        "exhausted": str(retry.exhausted(known, step.retry, step.failures_max)),
        "not_before_us": wait.get(place, 0),
        "next_request": asdict(retry.request_for(step.request, known, step.retry)),
    }


def failed(rows: Iterable[TaskRow]) -> list[Place]:
    """Return the open tasks that failed before: only those can have to wait."""
    return [row.place for row in rows if row.failures and row.verdict in OPEN]


def due(
    dataset: DatasetId, dag: Dag, known: Mapping[Place, History], now_us: int
) -> dict[Place, int]:
    """Return when tasks may be leased again, of those that may not be yet; UTC microseconds."""
    steps = dag.dataset.steps
    found = {
        (step, job): retry.not_before(one, steps[step].retry, Task(dataset, job, step), now_us)
        for (step, job), one in known.items()
    }
    return {place: at_us for place, at_us in found.items() if at_us > now_us}
