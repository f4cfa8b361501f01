"""The state hash: one digest over everything that is known, and over nothing of how it arrived.

SHA-256 over the sorted records (dataset digest, job, step, generation, control, outcome, canonical
output digests, all attempts with fate and usage) of all tasks that facts name, and one record per
dataset for those that none names. Not in it: epochs, commit numbers, receipts, arrival times,
leases, telemetry, parked bundles.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from bundle import canonical
from bundle.digest import start
from bundle.fates import FATES
from central.core.controls import Controls, Standing
from central.core.facts import AttemptFact, TaskRow, Verdict

ENDED = frozenset({Verdict.DONE, Verdict.FAILED, Verdict.CANCELLED, Verdict.REMOVED})


def dataset_record(digest: bytes, jobs: int, controls: Controls) -> bytes:
    """Return the record of a dataset: what controls say, also of tasks that no other fact names."""
    whole = controls.whole
    return canonical.encode([digest, jobs, whole.generation, whole.word(), _regions(controls)])


def task_record(
    digest: bytes,
    row: TaskRow,
    standing: Standing,
    outputs: Iterable[bytes],
    attempts: Sequence[AttemptFact],
) -> bytes:
    """Return the record of a task that was tried or pinned."""
    ended = row.verdict if row.verdict in ENDED else ""
    return canonical.encode(
        [
            digest,
            row.job,
            row.step,
            row.generation,
            standing.word(),
            str(ended),
            row.outcome,
            list(outputs),
            sorted(_attempt(one) for one in attempts),
        ]
    )


def state_hash(records: Iterable[bytes]) -> str:
    """Return the hash of all records as 64 hex characters."""
    running = start("state")
    for record in sorted(records):
        running.update(len(record).to_bytes(8, "big") + record)
    return str(running.hexdigest())


def _attempt(one: AttemptFact) -> list[object]:
    usage = list(one[11:17])
    return [
        one.generation, one.lease, one.pilot_run, one.local, FATES.index(one.fate), one.lineage,
        one.outcome, *usage,
    ]  # fmt: skip


def _regions(controls: Controls) -> list[list[object]]:
    """Return [step, first job, count, generation, control] where it differs from the whole."""
    bounds: dict[int, set[int]] = {}
    for control in controls.all:
        for step, jobs in control.regions or ():
            bounds.setdefault(step, set()).update(bound for span in jobs.spans for bound in span)
    rows: list[list[object]] = []
    for step in sorted(bounds):
        edges = sorted(bounds[step])
        last: tuple[int, Standing] | None = None
        for first, past in pairwise(edges):
            standing = controls.standing((step, first))
            if standing == controls.whole:
                last = None
            elif last == (first, standing):
                rows[-1][2] = past - int(str(rows[-1][1]))
                last = (past, standing)
            else:
                row: list[object] = [step, first, past - first]
                rows.append([*row, standing.generation, standing.word()])
                last = (past, standing)
    return rows
