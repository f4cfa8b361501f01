"""Tasks that are judged one by one: what the merge says of them, written to rows and bytes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from central.core import state_byte
from central.core.changes import Changes
from central.core.facts import AttemptFact, Pin, Place, Verdict
from central.core.merge import Merge
from central.core.state_byte import BLOCK_JOBS, VERDICTS
from central.state.affected import Affected
from central.state.blocks import Blocks
from central.state.counters import Counters
from central.state.source import StateSource, by_step
from central.store.protocol import Store


@dataclass(slots=True)
class Work:
    """What the merge is to join. `touched`: tasks with rows that are to be judged again."""

    facts: list[AttemptFact] = field(default_factory=list)
    pins: list[Pin] = field(default_factory=list)
    leases: dict[Place, tuple[int, int]] = field(default_factory=dict)
    touched: set[Place] = field(default_factory=set)

    def is_empty(self) -> bool:
        """Return whether there is nothing to do."""
        return not (self.facts or self.pins or self.leases or self.touched)


class Rowwise:
    """Writes what a merge changed, inside the store's transaction."""

    def __init__(
        self,
        store: Store,
        dataset: int,
        of: tuple[Blocks, Counters, Affected],
        source: StateSource,
    ) -> None:
        """Write to a dataset's rows, bytes and counters."""
        self._tasks, self._dataset, self._source = store.tasks, dataset, source
        self._blocks, self._counters, self._affected = of

    def join(self, merge: Merge, work: Work) -> Changes:
        """Let a merge judge what waits for it, and write what it says."""
        merge.add_attempts(work.facts)
        merge.add_pins(work.pins)
        merge.set_leases(work.leases)
        merge.touch(work.touched)
        changes = merge.settle()
        # Facts that are known already are told again where controls made them count.
        named = {one.place for one in work.facts}
        named |= {(one.step, one.job) for one in (*work.pins, *changes.pins)}
        self._write_rows(merge, changes, named | changes.rows.keys())
        self._count_rows(changes)
        return changes

    def _write_rows(self, merge: Merge, changes: Changes, places: Collection[Place]) -> None:
        """Write rows and their attempts; a task without facts of its own goes back to its byte."""
        tasks, no = self._tasks, self._dataset
        rows, facts = [], []
        known = {(one.step, one.job, one.content) for one in changes.attempts}
        for step, jobs in by_step(places):
            states = self._blocks.read(step, jobs)
            for place, job in enumerate(jobs.tolist()):
                row = merge.row((step, job))
                attempts, pins = merge.facts((step, job))
                had_row = bool(states[place] & state_byte.ROW)
                needs_row = (
                    had_row or self._affected.judge.dag.whole[step] or bool(attempts or pins)
                )
                states[place] = byte_of(row.verdict, row.failures, row.lease, needs_row)
                if needs_row:
                    rows.append(row)
                    facts += [
                        (one, self._source.segment_of[one.content])
                        for one in attempts
                        if not had_row or (step, job, one.content) in known
                    ]
            fresh = jobs[self._blocks.read(step, jobs, before=True) == 0]
            self._blocks.write(step, jobs, states)
            if step not in changes.flipped:
                self._blocks.settle_jobs(step, jobs)
            if not self._affected.judge.dag.whole[step] and len(fresh):
                self._affected.open(fresh)
        tasks.save_rows(no, rows)
        tasks.add_attempts(no, facts)
        tasks.add_pins(no, changes.pins)

    def _count_rows(self, changes: Changes) -> None:
        """Count by what the merge changed."""
        for (step, word), difference in changes.counts.items():
            self._counters.add(step, word, difference)
        for step, difference in changes.known.items():
            self._counters.know(step, difference)
        for step, used in changes.usage.items():
            self._counters.use(step, used)
        for step, jobs in by_step(changes.rows):
            words = [changes.was[step, job] for job in jobs.tolist()]
            was = np.array([_code(word) for word in words], np.uint8)
            verdicts = [changes.rows[step, job].verdict for job in jobs.tolist()]
            now = np.array([_code(word) for word in verdicts], np.uint8)
            self._blocks.note(step, jobs, was, now)

    def flip(self, changes: Changes, first: int, past: int) -> None:
        """Steps per dataset are done, or no more: a block of their children is looked at again.

        Those that the merge judged with it are counted already.

        Args:
            changes: what the merge said.
            first: the block's first job.
            past: the job after the last; of those that the dataset has no more, what was begun.
        """
        dag, judge = self._affected.judge.dag, self._affected.judge
        for child in sorted({one for step in changes.flipped for one in judge.job_children(step)}):
            jobs = np.arange(first, min(first + BLOCK_JOBS, past))
            begun = (self._blocks.read(child, jobs) & state_byte.TOUCHED) != 0
            jobs = jobs[begun | (jobs < dag.dataset.jobs)]
            if any(of == child for of, _ in changes.rows):
                jobs = jobs[[(child, job) not in changes.rows for job in jobs.tolist()]]
            states = self._blocks.read(child, jobs)
            stands = (states & (state_byte.ROW | state_byte.DONE)) != 0
            self._affected.touched.update((child, job) for job in jobs[stands].tolist())
            self._affected.note(child, jobs)


def byte_of(verdict: Verdict, failures: int, lease: int, needs_row: bool) -> int:
    """Return the byte of a task that the merge judged."""
    found = state_byte.TOUCHED
    if needs_row:
        found |= state_byte.ROW
    if lease:
        found |= state_byte.LEASED
    if verdict is Verdict.DONE:
        return found | state_byte.DONE
    return found | min(failures, state_byte.FAILURES)


def _code(word: Verdict | None) -> int:
    return state_byte.IN_ROW if word is None else VERDICTS.index(word)
