"""What the merge asks of a dataset whose tasks are bytes, rows where needed, and an archive."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import numpy as np

from central.core import state_byte
from central.core.facts import AttemptFact, Pin, Place, TaskRow
from central.core.source import StepCounts
from central.core.state_byte import BLOCK_JOBS, VERDICTS, Jobs
from central.state.blocks import Blocks
from central.state.canonical import Canonical
from central.state.counters import Counters
from central.state.judge import Judge
from central.state.recall import Recall
from central.store.protocol import Store


class StateSource:
    """See `central.core.source.Source`."""

    def __init__(
        self,
        store: Store,
        dataset: int,
        of: tuple[Judge, Blocks, Counters, Canonical],
        recall: Recall,
    ) -> None:
        """Look at a dataset; `arriving` are tasks whose new attempts the merge gets by itself."""
        self._tasks, self._dataset, self._recall = store.tasks, dataset, recall
        self._judge, self._blocks, self._counters, self._canonical = of
        self.arriving: set[Place] = set()
        self.fresh: set[int] = set()  # numbers of the segments that bring them
        self.unjoined: set[int] = set()  # steps whose attempts of those are still to be joined
        self.segment_of: dict[bytes, int] = {}  # of attempts read back, by their content

    def load_rows(self, places: Collection[Place]) -> Iterable[TaskRow]:
        """See `Source`: tasks that nothing happened to have no row."""
        in_rows: list[Place] = []
        found: list[TaskRow] = []
        for step, jobs in by_step(places):
            states = self._blocks.read(step, jobs)
            in_rows += [(step, job) for job in jobs[(states & state_byte.ROW) != 0].tolist()]
            plain = (states & (state_byte.ROW | state_byte.TOUCHED)) == state_byte.TOUCHED
            if plain.any():
                outcomes = self._canonical.outcomes(step, jobs[plain])
                found += [
                    row._replace(outcome=outcomes.get(row.job, b""))
                    for row in plain_rows(self._judge, self._blocks, step, jobs[plain])
                ]
        if in_rows:
            found += self._tasks.rows(self._dataset, in_rows)
        return found

    def load_attempts(self, places: Collection[Place]) -> Iterable[AttemptFact]:
        """See `Source`."""
        in_rows: list[Place] = []
        plain: list[Place] = []
        for step, jobs in by_step(places):
            states = self._blocks.read(step, jobs)
            has_row = (states & state_byte.ROW) != 0
            in_rows += [(step, job) for job in jobs[has_row].tolist()]
            plain += [(step, job) for job in jobs[~has_row].tolist()]
        found = list(self._tasks.attempts(self._dataset, in_rows)) if in_rows else []
        here = [one for one in plain if one in self.arriving or one[0] in self.unjoined]
        elsewhere = list(set(plain).difference(here))
        for some, without in ((here, self.fresh), (elsewhere, set[int]())):
            for fact, segment in self._recall.facts(self._dataset, some, without):
                self.segment_of[fact.content] = segment
                found.append(fact)
        return found

    def load_pins(self, places: Collection[Place]) -> Iterable[Pin]:
        """See `Source`."""
        return self._tasks.pins(self._dataset, places)

    def load_outcomes(self, step: int, tasks: range) -> Iterable[tuple[int, bytes]]:
        """See `Source`."""
        for jobs in _pieces(tasks):
            yield from self._canonical.outcomes(step, jobs).items()

    def count_done(self, step: int, tasks: range) -> int:
        """See `Source`."""
        return sum(int(self._judge.done(step, jobs).sum()) for jobs in _pieces(tasks))

    def load_counts(self, steps: Collection[int]) -> Mapping[int, StepCounts]:
        """See `Source`."""
        return self._counters.load_counts(steps)


def _pieces(tasks: range) -> Iterator[Jobs]:
    for first in range(tasks.start, tasks.stop, BLOCK_JOBS):
        yield np.arange(first, min(first + BLOCK_JOBS, tasks.stop))


def plain_rows(judge: Judge, blocks: Blocks, step: int, jobs: Jobs) -> Iterator[TaskRow]:
    """Yield the rows that the bytes of jobs of a step per job stand for, but for their outcomes."""
    states = blocks.read(step, jobs)
    codes = judge.verdicts(step, jobs)
    generations = judge.controls.standings(step, jobs).generation
    rows = zip(jobs.tolist(), states.tolist(), codes.tolist(), generations.tolist(), strict=True)
    for job, state, code, generation in rows:
        is_done = bool(state & state_byte.DONE)
        failures = 0 if is_done else state & state_byte.FAILURES
        lease = int(bool(state & state_byte.LEASED))
        yield TaskRow(step, job, generation, VERDICTS[code], b"", failures, lease)


def by_step(places: Iterable[Place]) -> Iterable[tuple[int, Jobs]]:
    """Return the jobs of tasks by step, ascending."""
    found: dict[int, list[int]] = {}
    for step, job in places:
        found.setdefault(step, []).append(job)
    return [(step, np.array(sorted(jobs), np.int64)) for step, jobs in sorted(found.items())]
