"""The state hash: one digest over everything that is known, and over nothing of how it arrived.

SHA-256 over the sorted records of all datasets. A dataset's record holds its document, what
controls say and where, every segment by its digest (which stands for its attempts, their fates and
usage), every pin, and every task that is done or failed. Which output is canonical follows from
these; what is cancelled or removed follows from controls, and which of those tasks has a trace
depends on what came first. Not in it: epochs, commits, receipts, arrival times, leases, telemetry,
parked bundles. See docs/adr/0016.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from bundle import canonical
from bundle.digest import digest, start
from bundle.ids import DatasetId
from central.core.controls import Controls, Standing
from central.core.facts import Pin, Verdict

ENDED = (Verdict.DONE, Verdict.FAILED)  # what facts alone end

Spans = list[tuple[int, int, int]]  # (step, first job, count)


def dataset_record(
    of: tuple[DatasetId, bytes, int],
    controls: Controls,
    segments: Iterable[bytes],
    pins: Iterable[Pin],
    ended: dict[Verdict, Spans],
) -> bytes:
    """Return the record of a dataset.

    Args:
        of: its id, the digest of its document in force, how many jobs it has.
        controls: all its controls.
        segments: digests of all its segments.
        pins: all its pins.
        ended: tasks that are done or failed, by verdict.
    """
    whole = controls.whole
    running = start("segments")
    for one in sorted(segments):
        running.update(one)
    pinned = sorted([pin.step, pin.job, pin.generation, pin.outcome] for pin in pins)
    unique = [one for place, one in enumerate(pinned) if not place or pinned[place - 1] != one]
    return canonical.encode(
        [
            *of,
            whole.generation,
            whole.word(),
            _regions(controls),
            running.digest(),
            digest("pins", canonical.encode(unique)),
            {word.value: [list(span) for span in ended.get(word, [])] for word in ENDED},
        ]
    )


def state_hash(records: Iterable[bytes]) -> str:
    """Return the hash of all records as 64 hex characters."""
    running = start("state")
    for record in sorted(records):
        running.update(len(record).to_bytes(8, "big") + record)
    return str(running.hexdigest())


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
