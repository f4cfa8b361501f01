"""What a transaction changed in state bytes, and all that it reaches: counters, children, jobs.

Counters change by the difference of verdicts, so whatever changed a byte, or a parent's, only says
which jobs it was.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from central.core import state_byte
from central.core.facts import Place
from central.core.state_byte import Jobs
from central.state.blocks import Blocks
from central.state.counters import Counters
from central.state.judge import Judge


class Affected:
    """See the module. `touched`: tasks with rows that the merge has to judge again."""

    def __init__(self, judge: Judge, blocks: Blocks, counters: Counters) -> None:
        """Start with nothing changed."""
        self.judge, self._blocks, self._counters = judge, blocks, counters
        self.old_judge: Judge | None = None  # by which what changes now was counted
        self.touched: set[Place] = set()
        self.opened: list[Jobs] = []  # jobs that got their first trace
        self._changed: dict[int, list[Jobs]] = {}

    def note(self, step: int, jobs: Jobs) -> None:
        """Note jobs of a step whose bytes, or whose parents', changed."""
        self._changed.setdefault(step, []).append(jobs)

    def put(self, step: int, jobs: Jobs, states: npt.NDArray[Any]) -> None:
        """Replace the bytes of jobs of a step."""
        if len(jobs):
            self._blocks.write(step, jobs, states.astype(np.uint8, copy=False))
            self._changed.setdefault(step, []).append(jobs)

    def settle(self) -> None:
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
            states = self._blocks.read(step, jobs)
            fresh = (states & state_byte.TOUCHED) == 0
            if fresh.any():
                self._blocks.write(step, jobs[fresh], states[fresh] | state_byte.TOUCHED)
            self._move(step, jobs)
        self._changed.clear()
        self.old_judge = None
        self._blocks.settle()

    def open(self, jobs: Jobs) -> None:
        """Note jobs that got their first trace by the merge; what is ready there gets one too."""
        self.opened.append(jobs)
        self._trace_roots(jobs)

    def _move(self, step: int, jobs: Jobs) -> None:
        """Count tasks of a step whose bytes, or whose parents', changed; tell their children."""
        had = self._blocks.read(step, jobs, before=True)
        was = (self.old_judge or self.judge).verdicts(step, jobs, before=True)
        was[(had & state_byte.TOUCHED) == 0] = state_byte.IN_ROW  # counted nowhere
        has = self._blocks.read(step, jobs)
        now = self.judge.verdicts(step, jobs)
        for codes, states in ((was, had), (now, has)):
            codes[(states & state_byte.ROW) != 0] = state_byte.IN_ROW  # the merge counts those
        moved = was != now
        if moved.any():
            self._counters.move(step, was[moved], now[moved])
            self._blocks.note(step, jobs[moved], was[moved], now[moved])
        plain = ((had | has) & state_byte.ROW) == 0
        known = np.count_nonzero(has[plain] & state_byte.DONE)
        known -= np.count_nonzero(had[plain] & state_byte.DONE)
        self._counters.know(step, int(known))
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
                tasks = np.unique(jobs // dag.spans[child])
                self.touched.update((child, task) for task in tasks.tolist())
                continue
            self._changed.setdefault(child, []).append(jobs)
            in_row = jobs[(self._blocks.read(child, jobs) & state_byte.ROW) != 0]
            self.touched.update((child, job) for job in in_row.tolist())

    def _open_jobs(self) -> None:
        """Give a trace to all that a job's first one leaves ready: the planner looks for those."""
        dag = self.judge.dag
        fresh: list[Jobs] = []
        for step, several in self._changed.items():
            if dag.whole[step]:
                continue
            for jobs in several:
                untouched = self._blocks.read(step, jobs, before=True) == 0
                if untouched.any():
                    fresh.append(jobs[untouched])
        if not fresh:
            return
        jobs = fresh[0] if len(fresh) == 1 else np.unique(np.concatenate(fresh))
        self.opened.append(jobs)
        self._trace_roots(jobs)

    def _trace_roots(self, jobs: Jobs) -> None:
        dag = self.judge.dag
        for step, needs in enumerate(dag.needs):
            if not (needs or dag.whole[step]):
                untouched = self._blocks.read(step, jobs) == 0
                if untouched.any():
                    self._changed.setdefault(step, []).append(jobs[untouched])
