"""Where every task stands, as central says it: what checks compare before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from bundle.ids import DatasetId
from central.core.changes import implied_row
from central.core.controls import Controls
from central.core.dag import Dag
from central.core.facts import Place, TaskRow
from central.state.reading import Reading
from central.store.rows import DatasetRow
from central.workings import Workings


@dataclass(frozen=True, slots=True)
class Standings:
    """One dataset: its shape, controls, and the row of each task."""

    dag: Dag = field(compare=False)
    controls: Controls = field(compare=False)
    rows: dict[Place, TaskRow]
    counts: tuple[tuple[str, int], ...]
    wall_ms: tuple[int, ...]
    attempts: tuple[int, ...]
    away: frozenset[Place] = field(compare=False)  # what live leases cover that would count

    def places(self) -> list[Place]:
        """Return every task."""
        return sorted(self.rows)


@dataclass(frozen=True, slots=True)
class Picture:
    """All datasets."""

    datasets: dict[DatasetId, Standings]


def of(workings: Workings) -> Picture:
    """Return where every task stands; leases are left out, for they come and go by the clock."""
    from central.views import Views

    views = Views(workings)
    found = {}
    for row in workings.store.datasets.datasets():
        dag, controls = workings.dag(row.digest), workings.controls(row)
        places = [
            (step, job)
            for step in range(len(dag.dataset.steps))
            for job in range(dag.dataset.tasks_of(step))
        ]
        reading = Reading(workings, row)
        known = {one.place: one for one in reading.rows(places, outcomes=True)}
        rows = {place: known.get(place) or implied_row(dag, controls, place) for place in places}
        steps = views.counts(row.id)["steps"]
        counts = tuple(
            (f"{step['step']} {word}", number)
            for step in steps
            for word, number in sorted(step["counts"].items())
        )
        found[row.id] = Standings(
            dag,
            controls,
            rows,
            counts,
            tuple(step["wall_ms"] for step in steps),
            tuple(step["attempts"] for step in steps),
            frozenset(_away(workings, row, dag, controls)),
        )
    return Picture(found)


def _away(workings: Workings, row: DatasetRow, dag: Dag, controls: Controls) -> Iterator[Place]:
    """Yield the tasks that live leases cover, as they are now."""
    for one in workings.store.datasets.live_on(row.no):
        lease = workings.lease(one)
        hashes = dict(lease.spec_hashes)
        for block in lease.blocks:
            for step in block.steps:
                for place in ((step, job) for job in block.jobs):
                    generation = controls.standing(place).generation
                    if generation == block.generation and hashes[step] == dag.spec_hash(step):
                        yield place
