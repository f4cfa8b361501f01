"""Reading a dataset's tasks: rows, what is ready, what is done, and what children build upon."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from central.core import state_byte
from central.core.facts import AttemptFact, Place, TaskRow, Verdict
from central.core.state_byte import BLOCK_BITS, BLOCK_JOBS, VERDICTS, Jobs, Mask
from central.state.blocks import Blocks
from central.state.canonical import Canonical
from central.state.judge import Judge
from central.state.recall import Recall, Success
from central.state.source import by_step, plain_rows
from central.store.protocol import Store
from central.store.rows import BlockKey, DatasetRow, Outputs

if TYPE_CHECKING:
    from central.workings import Workings

READY_BLOCKS_MAX = 256  # blocks with ready tasks that are looked into at a time
READY_BLOCKS_FIRST = 4  # so many of them first, then twice as many each time


@dataclass(frozen=True, slots=True)
class Built:
    """The success of a task that its children build upon. `attempt` is a text form of a key."""

    generation: int
    attempt: str
    outcome: bytes
    outputs: Outputs


class Reading:
    """One dataset as it is now. Reads only; to be made anew after every transaction."""

    def __init__(self, workings: Workings, row: DatasetRow) -> None:
        """Look at a dataset."""
        self._store: Store = workings.store
        self._recall: Recall = workings.recall
        self._row = row
        self._blocks = Blocks(self._store.tasks, row.no)
        self._judge = Judge(workings.dag(row.digest), workings.controls(row), self._blocks)
        self._canonical = Canonical(self._store, row.no, self._judge, self._blocks, self._recall)

    def done_by_step(self) -> dict[int, int]:
        """Return how many tasks of each step are done."""
        steps = self._store.tasks.steps(self._row.no)
        return {one.step: one.verdicts[state_byte.IS_DONE] for one in steps}

    def rows(self, places: Collection[Place], *, outcomes: bool = False) -> list[TaskRow]:
        """Return the rows of those tasks that something happened to.

        `outcomes` asks for those too that are read back from the archive; without it a row may lack
        the outcome that it has.
        """
        in_rows: list[Place] = []
        found: list[TaskRow] = []
        self._blocks.load_jobs(by_step(places))
        for step, jobs in by_step(places):
            states = self._blocks.read(step, jobs)
            in_rows += [(step, job) for job in jobs[(states & state_byte.ROW) != 0].tolist()]
            plain = (states & (state_byte.ROW | state_byte.TOUCHED)) == state_byte.TOUCHED
            if plain.any():
                known = self._canonical.outcomes(step, jobs[plain]) if outcomes else {}
                found += [
                    row._replace(outcome=known.get(row.job, b""))
                    for row in plain_rows(self._judge, self._blocks, step, jobs[plain])
                ]
        if in_rows:
            found += self._store.tasks.rows(self._row.no, in_rows)
        return found

    def tried(self, places: Collection[Place]) -> list[AttemptFact]:
        """Return all attempts at those tasks that failed, or that have rows for another reason."""
        in_rows: list[Place] = []
        plain: list[Place] = []
        self._blocks.load_jobs(by_step(places))
        for step, jobs in by_step(places):
            states = self._blocks.read(step, jobs)
            has_row = (states & state_byte.ROW) != 0
            failed = ((states & state_byte.DONE) == 0) & ((states & state_byte.FAILURES) != 0)
            in_rows += [(step, job) for job in jobs[has_row].tolist()]
            plain += [(step, job) for job in jobs[failed & ~has_row].tolist()]
        found = list(self._store.tasks.attempts(self._row.no, in_rows)) if in_rows else []
        found += [one for one, _ in self._recall.facts(self._row.no, plain)]
        self._recall.trim()
        return found

    def every_row(self) -> Iterator[TaskRow]:
        """Yield the rows of all tasks that something happened to, by step and job."""
        for one in self._store.tasks.every_block(self._row.no):
            jobs = self._jobs(one.step, one.block)
            touched = jobs[self._blocks.read(one.step, jobs) != 0]
            places = [(one.step, job) for job in touched.tolist()]
            yield from sorted(self.rows(places, outcomes=True), key=lambda row: row.place)

    def ready(
        self,
        limit: int,
        steps: Collection[int] | None = None,
        may: Callable[[int, Jobs], Mask] | None = None,
    ) -> list[Place]:
        """Return touched tasks that are ready, lowest job first; of some steps only, or of all.

        `may`: which jobs of a step per job are asked for; None: all.
        """
        found: list[Place] = []
        at = None
        for step, block in self._with_ready(steps):
            if len(found) >= limit and block != at:
                break
            at = block
            jobs = self._jobs(step, block)
            if may is not None and not self._judge.dag.whole[step]:
                jobs = jobs[may(step, jobs)]
            states = self._blocks.read(step, jobs)
            in_row = (states & (state_byte.ROW | state_byte.DONE)) == state_byte.ROW
            if in_row.any():
                places = [(step, job) for job in jobs[in_row].tolist()]
                rows = self._store.tasks.rows(self._row.no, places)
                found += [row.place for row in rows if row.verdict is Verdict.READY]
            if self._judge.dag.whole[step]:
                continue
            is_ready = self._judge.verdicts(step, jobs) == state_byte.READY
            is_ready &= (states & state_byte.TOUCHED) != 0
            found += [(step, job) for job in jobs[is_ready].tolist()]
        return sorted(found, key=lambda place: (place[1], place[0]))[:limit]

    def _with_ready(self, steps: Collection[int] | None) -> Iterator[BlockKey]:
        """Yield loaded blocks with ready tasks; who stops early did not load all there are."""
        last: BlockKey = (-1, -1)
        many, left = READY_BLOCKS_FIRST, READY_BLOCKS_MAX
        while left > 0:
            page = self._store.tasks.blocks_with(self._row.no, Verdict.READY, many, last)
            keys = [key for key in page if steps is None or key[0] in steps][:left]
            self._blocks.load(keys)
            yield from keys
            if len(page) < many:
                return
            last, left = page[-1], left - len(keys)
            many = min(2 * many, READY_BLOCKS_MAX)

    def done(self, step: int, tasks: Jobs) -> Mask:
        """Return which tasks of a step, ascending, are done."""
        return self._judge.done(step, tasks)

    def has_done(self, step: int, block: int) -> bool:
        """Return whether a success of one of a block's tasks counts."""
        whole = np.arange(block << BLOCK_BITS, (block + 1) << BLOCK_BITS)
        return bool((self._blocks.read(step, whole) & state_byte.DONE).any())

    def tried_twice(self, step: int) -> Iterator[Place]:
        """Yield the tasks of a step that may have more than one success that counts."""
        for one in self._store.tasks.every_block(self._row.no):
            if one.step != step:
                continue
            jobs = self._jobs(step, one.block)
            states = self._blocks.read(step, jobs)
            done = (states & state_byte.DONE) != 0
            twice = done & ((states & state_byte.TWICE) != 0) & ((states & state_byte.ROW) == 0)
            twice |= (states & state_byte.ROW) != 0
            yield from ((step, job) for job in jobs[twice].tolist())

    def spans(self, word: Verdict) -> list[tuple[int, int, int]]:
        """Return (step, first job, count) of all tasks touched that have a verdict."""
        code = VERDICTS.index(word)
        found: list[tuple[int, int, int]] = []
        for one in self._store.tasks.every_block(self._row.no):
            jobs = self._jobs(one.step, one.block)
            states = self._blocks.read(one.step, jobs)
            in_row = (states & state_byte.ROW) != 0
            if self._judge.dag.whole[one.step]:
                its = np.zeros(len(jobs), np.bool_)
            else:
                its = self._judge.verdicts(one.step, jobs) == code
                its &= ((states & state_byte.TOUCHED) != 0) & ~in_row
            if in_row.any():
                places = [(one.step, job) for job in jobs[in_row].tolist()]
                rows = self._store.tasks.rows(self._row.no, places)
                its[[row.job - int(jobs[0]) for row in rows if row.verdict is word]] = True
            found += [(one.step, a, b - a) for a, b in state_byte.spans_of(jobs[its])]
        return _merged(found)

    def built(self, places: Collection[Place]) -> dict[Place, Built]:
        """Return the successes that children build upon, of those tasks that have one."""
        rows = {row.place: row for row in self.rows(places, outcomes=True) if row.outcome}
        outputs = self._store.tasks.outcomes({row.outcome for row in rows.values()})
        pins = {
            (pin.step, pin.job, pin.outcome): pin
            for pin in self._store.tasks.pins(self._row.no, list(rows))
        }
        found: dict[Place, Built] = {}
        for step, jobs in by_step(rows):
            of = (self._judge.dag, self._judge.controls)
            successes = self._recall.successes(self._row.no, of, step, jobs)
            for job in jobs.tolist():
                row = rows[step, job]
                its = [one for one in successes.get(job, ()) if one.outcome() == row.outcome]
                pin = pins.get((step, job, row.outcome))
                if its:
                    name, one = min(((self._name(one), one) for one in its), key=lambda two: two[0])
                    made = one.segment.columns.outputs_of(one.number)
                    found[step, job] = Built(row.generation, name, row.outcome, made)
                elif pin is not None:
                    made = outputs.get(row.outcome, ())
                    found[step, job] = Built(row.generation, pin.attempt, row.outcome, made)
        return found

    def _name(self, success: Success) -> str:
        return success.segment.fact(success.number).name(self._row.id)

    def _jobs(self, step: int, block: int) -> Jobs:
        low = block << BLOCK_BITS
        return np.arange(low, min(low + BLOCK_JOBS, self._judge.dag.past(step, self._row.past)))


def _merged(spans: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Join spans that touch each other across the edges of blocks."""
    found: list[tuple[int, int, int]] = []
    for step, first, count in sorted(spans):
        if found and found[-1][0] == step and found[-1][1] + found[-1][2] == first:
            found[-1] = (step, found[-1][1], found[-1][2] + count)
        else:
            found.append((step, first, count))
    return found
