"""One transaction's facts of one dataset: into bytes where they fit, into rows where they don't.

Steps are joined parents first. What fits changes bytes, many tasks at once; what does not is judged
by `central.core.merge`, task by task, and so are tasks with rows whose parents changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from bundle.ids import Epoch
from bundle.intervals import IntervalSet
from central.core import state_byte
from central.core.changes import Changes
from central.core.facts import AttemptFact, Pin, Place
from central.core.merge import Merge
from central.core.segment_columns import Numbers
from central.core.state_byte import BLOCK_JOBS, Jobs, Mask
from central.state.affected import Affected
from central.state.arrivals import Arrivals
from central.state.blocks import Blocks
from central.state.canonical import Canonical
from central.state.counters import Counters
from central.state.judge import FIRST, Judge
from central.state.plain import PlainJoin
from central.state.recall import Recall, Recalled
from central.state.rowwise import Rowwise, Work
from central.state.source import StateSource, by_step
from central.store.protocol import Store
from central.store.rows import DatasetRow

BLOCKS_MAX = 256  # that are held while all jobs of a dataset are gone through: 32 MiB
_NONE = np.zeros(0, np.int64)


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
        self._affected = Affected(judge, self.blocks, self.counters)
        self.judge_anew(judge)
        self._work = Work()
        self._opened: list[tuple[int, int]] = []  # jobs that got their first trace
        self.made_pins: list[Pin] = []
        self.contradicted: list[AttemptFact] = []

    def judge_anew(self, judge: Judge) -> None:
        """Judge by another document or other controls from now on."""
        self.judge = self._affected.judge = judge
        of = (self._store, self.row.no, judge, self.blocks, self._recall)
        self.canonical = Canonical(*of)
        self._source = StateSource(
            self._store,
            self.row.no,
            (judge, self.blocks, self.counters, self.canonical),
            self._recall,
        )
        self._plain = PlainJoin(judge, self.blocks, self.canonical)
        changing = (self.blocks, self.counters, self._affected)
        self._rowwise = Rowwise(self._store, self.row.no, changing, self._source)

    def stand_anew(self, old: Judge, step: int, jobs: Jobs, *, forget: int) -> None:
        """Have jobs of a step, which were counted by another judge, judged by the one in force.

        Args:
            old: that judge.
            step: a step per job.
            jobs: ascending.
            forget: bits that their bytes lose, where they have no row.
        """
        self._affected.old_judge = old
        states = self.blocks.read(step, jobs)
        in_row = (states & state_byte.ROW) != 0
        kept = np.where(in_row, states, states & (255 - forget)).astype(np.uint8)
        self._affected.put(step, jobs, kept | state_byte.TOUCHED)
        self.touch((step, job) for job in jobs[in_row].tolist())
        if forget & state_byte.LEASED and in_row.any():
            self.set_leased(step, jobs[in_row], leased=False)

    def set_leased(self, step: int, jobs: Jobs, *, leased: bool) -> bool:
        """Note that a live lease covers jobs of a step, or no more; return whether one did."""
        states = self.blocks.read(step, jobs)
        was = (states & state_byte.LEASED) != 0
        in_row = (states & state_byte.ROW) != 0
        if self.judge.dag.whole[step]:
            in_row[:] = True
        else:
            flags = state_byte.LEASED | state_byte.TOUCHED
            self._affected.put(
                step, jobs, states | flags if leased else states & (255 - state_byte.LEASED)
            )
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
            self._affected.put(
                step, jobs[agrees], self.blocks.read(step, jobs[agrees]) | state_byte.PINNED
            )
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
        last = self.judge.dag.order[-1]
        for step in self.judge.dag.order:
            part = self._part(arrived, step, again)
            self._source.unjoined.discard(step)
            if not len(part):
                continue
            if self.judge.dag.whole[step]:
                self._add_facts(arrived, step, part)
            else:
                joined = self._plain.join(arrived, step, part, contested)
                self._affected.note(step, joined.changed)
                if again is None:
                    self.counters.use(step, arrived.usage(joined.plain_attempts))
                self._add_facts(arrived, step, joined.unfit_attempts)
            # What the last step changed in bytes alone is counted with what ends its leases.
            if again is not None or step != last or not self._work.is_empty():
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

    def touch_failed(self, step: int, jobs: Jobs) -> None:
        """Have tasks that failed judged by the merge, which knows how they failed."""
        states = self.blocks.read(step, jobs)
        failed = ((states & state_byte.DONE) == 0) & ((states & state_byte.FAILURES) != 0)
        self.touch((step, job) for job in jobs[failed].tolist())

    def touch(self, places: Iterable[Place]) -> None:
        """Have tasks judged again by the merge."""
        self._work.touched.update(places)

    def run(self) -> None:
        """Bring counters and children up to date with all that changed so far."""
        self._settle()
        while not self._work.is_empty():
            work, self._work = self._work, Work()
            dag, controls = self.judge.dag, self.judge.controls
            merge = Merge(self.row.id, dag, controls, self._source, self._commit)
            changes = self._rowwise.join(merge, work)
            self.made_pins += changes.made_pins
            self.contradicted += changes.contradicted
            if changes.flipped:
                self._flip(changes)
            else:
                self._settle()

    def _flip(self, changes: Changes) -> None:
        """Have all children of steps per dataset counted anew, a block of jobs at a time.

        As long as that lasts, what those steps were before stays at hand. Jobs that were begun
        before the dataset was truncated come back as they are, so they are among them.
        """
        self.blocks.hold((step, 0) for step in changes.flipped)
        past = max(self.row.past, *(end for _, end in self._opened), self.judge.dag.dataset.jobs)
        for first in range(0, past, BLOCK_JOBS):
            self._rowwise.flip(changes, first, past)
            self._settle()
            if self.blocks.loaded > BLOCKS_MAX:
                self.blocks.drop()
        self.blocks.release()

    def grow(self, since: int) -> None:
        """Have jobs from `since` on counted that wait for nothing but steps per dataset.

        Where such a step was done before there were those jobs, nothing else tells them.
        """
        if since >= self.judge.dag.dataset.jobs:
            return
        whole = [step for step, is_whole in enumerate(self.judge.dag.whole) if is_whole]
        done = [step for step in whole if self.judge.done(step, FIRST)[0]]
        children = {child for step in done for child in self.judge.job_children(step)}
        jobs = self.judge.dag.dataset.jobs if children else 0
        for first in range(since, jobs, BLOCK_JOBS):
            block = np.arange(first, min(first + BLOCK_JOBS, jobs))
            for child in children:
                self._affected.note(child, block)
            self._settle()
            if self.blocks.loaded > BLOCKS_MAX:
                self.blocks.drop()
        self.run()

    def _settle(self) -> None:
        """Count what changed in bytes; tasks with rows that it reaches wait for the merge."""
        self._affected.settle()
        self._work.touched |= self._affected.touched
        self._affected.touched = set()
        if self._affected.opened:
            opened, self._affected.opened = self._affected.opened, []
            self._opened += [span for one in opened for span in state_byte.spans_of(one)]

    def save(self) -> None:
        """Write bytes, counters and which jobs are touched."""
        self.run()
        if self._opened:
            touched = self.row.touched | IntervalSet.spanning(self._opened)
            self._opened = []
            if touched != self.row.touched:
                self._store.datasets.set_touched(self.row.no, touched)
                self.row = self.row._replace(touched=touched)
        self.blocks.save()
        self.counters.save(self.row.id, self.judge.dag)
