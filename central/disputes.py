"""Disputes: tasks of a step declared deterministic whose successes put out different files.

Found by looking: a second success is a bit in the task's byte, or a row, and what both put out lies
in the archive. The canonical outcome stays what it is; people decide.
"""

from __future__ import annotations

from dataclasses import dataclass

from bundle.ids import DatasetId
from central.attempts import Found, attempts_of
from central.core.facts import Place
from central.state.reading import Reading
from central.store.rows import DatasetRow
from central.workings import Workings

DISPUTES_MAX = 1000


@dataclass(frozen=True, slots=True)
class Dispute:
    """One task, and its successes that count, each with the outcome that it put out."""

    place: Place
    canonical: bytes
    successes: tuple[tuple[Found, bytes], ...]


def disputes(workings: Workings, row: DatasetRow, most: int = DISPUTES_MAX) -> list[Dispute]:
    """Return the disputed tasks of a dataset, by step and job, as many as `most`."""
    dag, controls = workings.dag(row.digest), workings.controls(row)
    reading = Reading(workings, row)
    found: list[Dispute] = []
    for step, said in enumerate(dag.dataset.steps):
        if not said.deterministic or not said.outputs:
            continue
        for place in reading.tried_twice(step):
            takes = controls.standing(place).takes
            made = [
                (one, one.segment.columns.outcome(one.number))
                for one in attempts_of(workings, row, place, 1 << 20)
                if one.fate == "success"
                and takes(int(one.segment.columns["generation"][one.number]))
                and one.segment.spec_hashes.get(step) == dag.spec_hash(step)
            ]
            if len({outcome for _, outcome in made}) > 1:
                (state,) = reading.rows([place], outcomes=True)
                found.append(Dispute(place, state.outcome, tuple(made)))
            if len(found) >= most:
                return found
    return found


def shown(workings: Workings, dataset: DatasetId) -> dict[str, object]:
    """Return the disputed tasks of a dataset as plain values. Raises UnknownDataset."""
    row = workings.dataset(dataset)
    dag = workings.dag(row.digest)
    rows = []
    for one in disputes(workings, row):
        step, job = one.place
        rows.append(
            {
                "task": f"{dataset}/{job}/{step}",
                "step": dag.dataset.steps[step].name,
                "canonical": one.canonical.hex(),
                "successes": [
                    {
                        "site": found.segment.lease.site,
                        "pilot_run": found.segment.row.pilot_run.hex(),
                        "host": found.segment.columns.header.host.name,
                        "outcome": outcome.hex(),
                        "outputs": [
                            {"name": output.name, "sha256": file.hex(), "bytes": size}
                            for output, (file, size) in zip(
                                dag.dataset.steps[step].outputs,
                                found.segment.columns.outputs_of(found.number),
                                strict=True,
                            )
                        ],
                    }
                    for found, outcome in one.successes
                ],
            }
        )
    return {"disputes": rows, "complete": len(rows) < DISPUTES_MAX}
