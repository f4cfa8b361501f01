"""One transaction's facts of one dataset: into bytes where they fit, into rows where they don't.

Steps are joined parents first. What fits changes bytes, many tasks at once; what does not is judged
by `central.core.merge`, task by task, and so are tasks with rows whose parents changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle.ids import Epoch
from bundle.intervals import IntervalSet
from central.core import state_byte
from central.core.changes import Changes
from central.core.facts import AttemptFact, Pin, Place, Verdict
from central.core.merge import Merge
from central.core.segment_columns import Numbers
from central.core.state_byte import BLOCK_JOBS, VERDICTS, Jobs, Mask
from central.state.arrivals import Arrivals
from central.state.blocks import Blocks
from central.state.canonical import Canonical
from central.state.counters import Counters
from central.state.judge import Judge
from central.state.plain import PlainJoin
from central.state.recall import Recall, Recalled
from central.state.source import StateSource, by_step
from central.store.protocol import Store
from central.store.rows import DatasetRow

_NONE = np.zeros(0, np.int64)


@dataclass(slots=True)
class _Work:
    """What is to be done yet. `touched`: tasks with rows that are to be judged again."""

    facts: list[AttemptFact] = field(default_factory=list)
    pins: list[Pin] = field(default_factory=list)
    leases: dict[Place, tuple[int, int]] = field(default_factory=dict)
    touched: set[Place] = field(default_factory=set)

    def is_empty(self) -> bool:
        return not (self.facts or self.pins or self.leases or self.touched)


class DatasetJoin:
    """See the module. Everything happens inside the store's transaction."""

    def __init__(
        self,
        store: Store,
        row: DatasetRow,
        judge_of: tuple[Judge, Blocks],
        recall: Recall,
        commit: tuple[Epoch, int] | None,
    ) -> None:
        """Join to a dataset.

        Args:
            store: the store.
            row: the dataset.
            judge_of: its document and controls, and the blocks that they are looked at through.
            recall: what reads attempts back.
            commit: where central's pins go; None where it makes none of its own.
        """
        self._store, self.row, self._recall, self._commit = store, row, recall, commit
        judge, self.blocks = judge_of
        self.counters = Counters(store.tasks, row.no)
        self.judge_anew(judge)
        self._old_judge: Judge | None = None  # by which what changes now was counted
        self._work = _Work()
        self._changed: dict[int, list[Jobs]] = {}
        self._opened: list[Jobs] = []
        self.made_pins: list[Pin] = []
        self.contradicted: list[AttemptFact] = []

    def judge_anew(self, judge: Judge) -> None:
        """Judge by another document or other controls from now on."""
        self.judge = judge
        of = (self._store, self.row.no, judge, self.blocks, self._recall)
        self.canonical = Canonical(*of)
        self._source = StateSource(
            self._store,
            self.row.no,
            (judge, self.blocks, self.counters, self.canonical),
            self._recall,
        )
        self._plain = PlainJoin(judge, self.blocks, self.canonical)

    def stand_anew(self, old: Judge, step: int, jobs: Jobs, *, forget: int) -> None:
        """Have jobs of a step, which were counted by another judge, judged by the one in force.

        Args:
            old: that judge.
            step: a step per job.
            jobs: ascending.
            forget: bits that their bytes lose, where they have no row.
        """
        self._old_judge = old
        states = self.blocks.read(step, jobs)
        in_row = (states & state_byte.ROW) != 0
        kept = np.where(in_row, states, states & (255 - forget)).astype(np.uint8)
        self._put(step, jobs, kept | state_byte.TOUCHED)
        self.touch((step, job) for job in jobs[in_row].tolist())

    def set_leased(self, step: int, jobs: Jobs, *, leased: bool) -> bool:
        """Note that a live lease covers jobs of a step, or no more; return whether one did."""
        states = self.blocks.read(step, jobs)
        was = (states & state_byte.LEASED) != 0
        in_row = (states & state_byte.ROW) != 0
        if self.judge.dag.whole[step]:
            in_row[:] = True
        else:
            flags = state_byte.LEASED | state_byte.TOUCHED
            self._put(step, jobs, states | flags if leased else states & (255 - state_byte.LEASED))
        if in_row.any():
            generations = self.judge.controls.standings(step, jobs).generation
            its = zip(jobs[in_row].tolist(), generations[in_row].tolist(), strict=True)
            self._work.leases |= {(step, job): (int(leased), g) for job, g in its}
        return bool(was.any())

    def add_pins(self, pins: Iterable[Pin]) -> None:
        """Join pins: one that agrees with a task's only success is a bit of its byte."""
        arrived: dict[Place, list[Pin]] = {}
        for pin in pins:
            arrived.setdefault((pin.step, pin.job), []).append(pin)
        agreed: list[Pin] = []
        for step, jobs in by_step(arrived):
            agrees = self._agreeing(step, jobs, arrived)
            self._put(step, jobs[agrees], self.blocks.read(step, jobs[agrees]) | state_byte.PINNED)
            for job, fits in zip(jobs.tolist(), agrees.tolist(), strict=True):
                (agreed if fits else self._work.pins).extend(arrived[step, job])
        self._store.tasks.add_pins(self.row.no, agreed)

    def _agreeing(self, step: int, jobs: Jobs, arrived: dict[Place, list[Pin]]) -> Mask:
        """Return for which jobs all pins name the generation and the outcome that is there."""
        states = self.blocks.read(step, jobs)
        plain = state_byte.ROW | state_byte.DONE
        found: Mask = (states & plain) == state_byte.DONE
        found &= (states & state_byte.TWICE) == 0
        if self.judge.dag.whole[step] or not found.any():
            return np.zeros(len(jobs), np.bool_)
        outcomes = self.canonical.outcomes(step, jobs[found])
        standings = self.judge.controls.standings(step, jobs)
        for place in np.flatnonzero(found).tolist():
            job = int(jobs[place])
            generation = int(standings.generation[place])
            found[place] = int(standings.since[place]) == generation and all(
                pin.outcome == outcomes.get(job) and pin.generation == generation
                for pin in arrived[step, job]
            )
        return found

    def add_segments(
        self,
        segments: Sequence[Recalled],
        *,
        contested: Mask | None = None,
        again: dict[int, IntervalSet] | None = None,
    ) -> None:
        """Join the attempts of segments that are in the store already.

        Args:
            segments: with their columns.
            contested: per segment, whether a segment of the same pilot may hold the same attempts.
            again: tasks by step that known segments are joined to anew; None: the segments are new.
        """
        if not segments:
            return
        arrived = Arrivals.of(segments)
        if again is None:
            self._source.fresh = {one.row.no for one in segments}
            self.canonical.without = frozenset(self._source.fresh)
            self._source.unjoined = set(self.judge.dag.order)
        for step in self.judge.dag.order:
            part = self._part(arrived, step, again)
            self._source.unjoined.discard(step)
            if not len(part):
                continue
            if self.judge.dag.whole[step]:
                self._add_facts(arrived, step, part)
            else:
                joined = self._plain.join(arrived, step, part, contested)
                self._changed.setdefault(step, []).append(joined.changed)
                if again is None:
                    self.counters.use(step, arrived.usage(joined.plain_attempts))
                self._add_facts(arrived, step, joined.unfit_attempts)
            self.run()
        self._source.fresh, self._source.arriving = set(), set()
        self.canonical.without = frozenset()

    def _part(self, arrived: Arrivals, step: int, again: dict[int, IntervalSet] | None) -> Numbers:
        """Return which attempts are at a step, and at what is joined anew without a row."""
        if len(self.judge.dag.order) == 1 and again is None:
            return np.arange(len(arrived.step))
        part = np.flatnonzero(arrived.step == step)
        if again is None or not len(part):
            return part
        if step not in again or self.judge.dag.whole[step]:
            return _NONE
        jobs, of = np.unique(arrived.job[part], return_inverse=True)
        inside = state_byte.inside(again[step], jobs)
        inside &= (self.blocks.read(step, jobs) & state_byte.ROW) == 0
        found: Numbers = part[inside[of]]
        return found

    def _add_facts(self, arrived: Arrivals, step: int, part: Numbers) -> None:
        """Give attempts to the merge, one by one."""
        segments, numbers = arrived.segment[part].tolist(), arrived.number[part].tolist()
        for segment, number in zip(segments, numbers, strict=True):
            one = arrived.segments[segment]
            fact = one.fact(number)
            self._source.segment_of[fact.content] = one.row.no
            self._source.arriving.add((step, fact.job))
            self._work.facts.append(fact)

    def touch(self, places: Iterable[Place]) -> None:
        """Have tasks judged again by the merge."""
        self._work.touched.update(places)

    def run(self) -> None:
        """Bring counters and children up to date with all that changed so far."""
        self._affect()
        while not self._work.is_empty():
            self._judge_rows()
            self._affect()

    def save(self) -> None:
        """Write bytes, counters and which jobs are touched."""
        self.run()
        if self._opened:
            jobs = IntervalSet.spanning(
                span for one in self._opened for span in state_byte.spans_of(one)
            )
            touched = self.row.touched | jobs
            if touched != self.row.touched:
                self._store.datasets.set_touched(self.row.no, touched)
                self.row = self.row._replace(touched=touched)
        self.blocks.save()
        self.counters.save(self.row.id, self.judge.dag)
        self._opened = []

    def _put(self, step: int, jobs: Jobs, states: npt.NDArray[Any]) -> None:
        if len(jobs):
            self.blocks.write(step, jobs, states.astype(np.uint8, copy=False))
            self._changed.setdefault(step, []).append(jobs)

    def _affect(self) -> None:
        """Count by the difference of verdicts; one done, or done no more, reaches its children."""
        if not self._changed:
            return
        dag = self.judge.dag
        self._open_jobs()
        for step in dag.order:
            changed = self._changed.pop(step, None)
            if changed is None or dag.whole[step]:
                continue
            jobs = changed[0] if len(changed) == 1 else np.unique(np.concatenate(changed))
            if not len(jobs):
                continue
            states = self.blocks.read(step, jobs)
            fresh = (states & state_byte.TOUCHED) == 0
            if fresh.any():
                self.blocks.write(step, jobs[fresh], states[fresh] | state_byte.TOUCHED)
            self._move(step, jobs)
        self._changed.clear()
        self._old_judge = None
        self.blocks.settle()

    def _move(self, step: int, jobs: Jobs) -> None:
        """Count tasks of a step whose bytes, or whose parents', changed; tell their children."""
        had = self.blocks.read(step, jobs, before=True)
        was = (self._old_judge or self.judge).verdicts(step, jobs, before=True)
        was[(had & state_byte.TOUCHED) == 0] = state_byte.IN_ROW  # counted nowhere
        has = self.blocks.read(step, jobs)
        now = self.judge.verdicts(step, jobs)
        for codes, states in ((was, had), (now, has)):
            codes[(states & state_byte.ROW) != 0] = state_byte.IN_ROW  # the merge counts those
        moved = was != now
        if moved.any():
            self.counters.move(step, was[moved], now[moved])
            self.blocks.note(step, jobs[moved], was[moved], now[moved])
        plain = ((had | has) & state_byte.ROW) == 0
        known = np.count_nonzero(has[plain] & state_byte.DONE)
        known -= np.count_nonzero(had[plain] & state_byte.DONE)
        self.counters.know(step, int(known))
        flipped = (was == state_byte.IS_DONE) != (now == state_byte.IS_DONE)
        flipped |= plain & (((had ^ has) & state_byte.DONE) != 0)  # it has an outcome, or none
        self._reach(step, jobs[flipped])

    def _reach(self, step: int, jobs: Jobs) -> None:
        """Have the children of jobs of a step looked at, and judged where they have rows."""
        if not len(jobs):
            return
        dag = self.judge.dag
        for child in dag.children[step]:
            if dag.whole[child]:
                self._work.touched.add((child, 0))
                continue
            self._changed.setdefault(child, []).append(jobs)
            in_row = jobs[(self.blocks.read(child, jobs) & state_byte.ROW) != 0]
            self._work.touched.update((child, job) for job in in_row.tolist())

    def _open_jobs(self) -> None:
        """Give a trace to all that a job's first one leaves ready: the planner looks for those."""
        dag = self.judge.dag
        fresh: list[Jobs] = []
        for step, several in self._changed.items():
            if dag.whole[step]:
                continue
            for jobs in several:
                untouched = self.blocks.read(step, jobs, before=True) == 0
                if untouched.any():
                    fresh.append(jobs[untouched])
        if not fresh:
            return
        jobs = fresh[0] if len(fresh) == 1 else np.unique(np.concatenate(fresh))
        self._opened.append(jobs)
        for step, needs in enumerate(dag.needs):
            if not (needs or dag.whole[step]):
                untouched = self.blocks.read(step, jobs) == 0
                if untouched.any():
                    self._changed.setdefault(step, []).append(jobs[untouched])

    def _judge_rows(self) -> None:
        """Let the merge judge what waits for it, and write what it says."""
        work, self._work = self._work, _Work()
        merge = Merge(self.row.id, self.judge.dag, self.judge.controls, self._source, self._commit)
        merge.add_attempts(work.facts)
        merge.add_pins(work.pins)
        merge.set_leases(work.leases)
        merge.touch(work.touched)
        changes = merge.settle()
        named = {(one.step, one.job) for one in changes.attempts}
        named |= {(one.step, one.job) for one in changes.pins}
        self._write_rows(merge, changes, named | changes.rows.keys())
        self._count_rows(changes)
        self.made_pins += changes.made_pins
        self.contradicted += changes.contradicted
        for step in changes.flipped:
            self._flip(step, changes)

    def _write_rows(self, merge: Merge, changes: Changes, places: Collection[Place]) -> None:
        """Write rows and their attempts; a task without facts of its own goes back to its byte."""
        tasks, no = self._store.tasks, self.row.no
        rows, facts = [], []
        known = {(one.step, one.job, one.content) for one in changes.attempts}
        for step, jobs in by_step(places):
            states = self.blocks.read(step, jobs)
            for place, job in enumerate(jobs.tolist()):
                row = merge.row((step, job))
                attempts, pins = merge.facts((step, job))
                had_row = bool(states[place] & state_byte.ROW)
                needs_row = had_row or self.judge.dag.whole[step] or bool(attempts or pins)
                states[place] = _byte_of(row.verdict, row.failures, row.lease, needs_row)
                if needs_row:
                    rows.append(row)
                    facts += [
                        (one, self._source.segment_of[one.content])
                        for one in attempts
                        if not had_row or (step, job, one.content) in known
                    ]
            fresh = jobs[self.blocks.read(step, jobs, before=True) == 0]
            self.blocks.write(step, jobs, states)
            if step not in changes.flipped:
                self.blocks.settle_jobs(step, jobs)
            if not self.judge.dag.whole[step] and len(fresh):
                self._opened.append(fresh)
                for root, needs in enumerate(self.judge.dag.needs):
                    if not (needs or self.judge.dag.whole[root]):
                        bare = fresh[self.blocks.read(root, fresh) == 0]
                        self._changed.setdefault(root, []).append(bare)
        tasks.save_rows(no, rows)
        tasks.add_attempts(no, facts)
        tasks.add_pins(no, changes.pins)

    def _count_rows(self, changes: Changes) -> None:
        """Count by what the merge changed."""
        for (step, word), difference in changes.counts.items():
            self.counters.add(step, word, difference)
        for step, difference in changes.known.items():
            self.counters.know(step, difference)
        for step, used in changes.usage.items():
            self.counters.use(step, used)
        for step, jobs in by_step(changes.rows):
            words = [changes.was[step, job] for job in jobs.tolist()]
            was = np.array([_code(word) for word in words], np.uint8)
            verdicts = [changes.rows[step, job].verdict for job in jobs.tolist()]
            now = np.array([_code(word) for word in verdicts], np.uint8)
            self.blocks.note(step, jobs, was, now)

    def _flip(self, step: int, changes: Changes) -> None:
        """A step per dataset is done, or no more: its children's jobs are looked at again.

        Those that the merge judged with it are counted already.
        """
        dag = self.judge.dag
        for child in self.judge.job_children(step):
            tasks = dag.dataset.tasks_of(child)
            for first in range(0, tasks, BLOCK_JOBS):
                jobs = np.arange(first, min(first + BLOCK_JOBS, tasks))
                if any(of == child for of, _ in changes.rows):
                    jobs = jobs[[(child, job) not in changes.rows for job in jobs.tolist()]]
                states = self.blocks.read(child, jobs)
                stands = (states & (state_byte.ROW | state_byte.DONE)) != 0
                self._work.touched.update((child, job) for job in jobs[stands].tolist())
                self._changed.setdefault(child, []).append(jobs)


def _byte_of(verdict: Verdict, failures: int, lease: int, needs_row: bool) -> int:
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
