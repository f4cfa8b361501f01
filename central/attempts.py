"""Attempts as people read them: pages of a dataset's, all of one task's, out of the archive.

An attempt's number is that of its segment and its place there; pages follow it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bundle.fates import FATES, Fate
from bundle.ids import AttemptKey, LeaseId, PilotRun, Task
from central.core.facts import Place
from central.state.recall import Recalled
from central.store.rows import DatasetRow
from central.workings import Workings

PLACE_BITS = 14  # of an attempt's place in its segment
SEGMENTS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Found:
    """One attempt: its segment, and its place there."""

    segment: Recalled
    number: int

    @property
    def fate(self) -> Fate:
        """How it ended."""
        return FATES[int(self.segment.columns["fate"][self.number])]

    @property
    def no(self) -> int:
        """Its number, ascending by segment."""
        return (self.segment.row.no << PLACE_BITS) + self.number + 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which attempts of a dataset are asked for."""

    step: int | None = None
    job: int | None = None
    fate: Fate | None = None

    def has_fate(self, one: Found) -> bool:
        """Return whether an attempt ended as is asked for."""
        return self.fate is None or one.fate is self.fate

    def of(self, segment: Recalled) -> Iterator[Found]:
        """Yield those of a segment."""
        columns = segment.columns
        fits = np.ones(columns.count, np.bool_)
        for name, value in (("step", self.step), ("job", self.job)):
            if value is not None:
                fits &= columns[name] == value
        if self.fate is not None:
            fits &= columns["fate"] == FATES.index(self.fate)
        for number in np.flatnonzero(fits).tolist():
            yield Found(segment, number)


def attempts_of(workings: Workings, row: DatasetRow, place: Place, most: int) -> list[Found]:
    """Return the attempts at one task, by number."""
    step, job = place
    wanted, found = Wanted(step, job), list[Found]()
    for segment in workings.recall.touching(row.no, step, np.array([job], np.int64)):
        found += wanted.of(segment)
    workings.recall.trim()
    return found[:most]


def page(
    workings: Workings, row: DatasetRow, wanted: Wanted, after: int, limit: int
) -> list[Found]:
    """Return attempts of a dataset after a number."""
    if wanted.step is not None and wanted.job is not None:
        every = attempts_of(workings, row, (wanted.step, wanted.job), 1 << 20)
        return [one for one in every if one.no > after and wanted.has_fate(one)][:limit]
    found: list[Found] = []
    failures = wanted.fate is not None and wanted.fate is not Fate.SUCCESS
    at = max(0, ((after - 1) >> PLACE_BITS) - 1) if after else 0
    while len(found) < limit:
        rows = workings.store.segments.after(row.no, at, SEGMENTS_AT_ONCE, unsuccessful=failures)
        if not rows:
            break
        read = workings.recall.segments(rows)
        for one in rows:
            found += [each for each in wanted.of(read[one.no]) if each.no > after]
        at = rows[-1].no
        workings.recall.trim()
    return found[:limit]


def attempt_row(dataset: DatasetRow, found: Found) -> dict[str, Any]:
    """Return one attempt as plain values."""
    segment, columns = found.segment, found.segment.columns
    one = columns.attempt(found.number)
    task = Task(dataset.id, one.job, one.step)
    lease, run = LeaseId(segment.lease.id), PilotRun(segment.row.pilot_run)
    outcome = columns.outcome(found.number).hex() if one.fate is Fate.SUCCESS else ""
    used = one.usage
    return {
        "no": found.no,
        "attempt": str(AttemptKey(task, one.generation, lease, run, one.local)),
        "job": one.job,
        "step": one.step,
        "generation": one.generation,
        "fate": one.fate.value,
        "site": segment.lease.site,
        "pilot_run": segment.row.pilot_run.hex(),
        "outcome": outcome,
        "wall_ms": used.wall_ms,
        "cpu_ms": used.cpu_ms,
        "memory_peak_mib": used.memory_peak_mib,
        "disk_peak_bytes": used.disk_peak_bytes,
        "read_bytes": used.read_bytes,
        "written_bytes": used.written_bytes,
        "segment": segment.row.digest.hex(),
    }
