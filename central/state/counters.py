"""The counters of a dataset's steps while a transaction lasts: what is stored and what is new."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from bundle.ids import DatasetId
from central.core.changes import UsageSum, is_unbalanced
from central.core.dag import Dag
from central.core.facts import Verdict
from central.core.source import StepCounts
from central.core.state_byte import VERDICTS, Bytes
from central.errors import Unbalanced
from central.store.protocol_facts import Tasks
from central.store.rows import StepRow

_WORDS = len(VERDICTS)


class Counters:
    """Tasks by verdict, how many have an outcome, and usage, by step."""

    def __init__(self, tasks: Tasks, dataset: int) -> None:
        """Start with nothing new."""
        self._tasks, self._dataset = tasks, dataset
        self._stored: dict[int, StepRow] | None = None
        self._verdicts: dict[int, list[int]] = {}
        self._known: dict[int, int] = {}
        self.usage: dict[int, UsageSum] = {}

    def move(self, step: int, before: Bytes | None, after: Bytes | None) -> None:
        """Count tasks by the verdicts that they have now instead of those before.

        None stands for tasks that are in no counter. Those whose row knows better are left out.
        """
        counts = self._verdicts.setdefault(step, [0] * _WORDS)
        for codes, sign in ((before, -1), (after, 1)):
            if codes is None or not len(codes):
                continue
            for place, count in enumerate(np.bincount(codes, minlength=_WORDS)[:_WORDS].tolist()):
                counts[place] += sign * count

    def add(self, step: int, word: Verdict, difference: int) -> None:
        """Count tasks with a verdict more, or fewer."""
        self._verdicts.setdefault(step, [0] * _WORDS)[VERDICTS.index(word)] += difference

    def know(self, step: int, difference: int) -> None:
        """Count tasks with an outcome more, or fewer."""
        if difference:
            self._known[step] = self._known.get(step, 0) + difference

    def use(self, step: int, used: UsageSum) -> None:
        """Add usage to a step."""
        known = self.usage.setdefault(step, UsageSum())
        known.attempts += used.attempts
        known.wall_ms += used.wall_ms
        known.cpu_ms += used.cpu_ms
        known.read_bytes += used.read_bytes
        known.written_bytes += used.written_bytes
        known.memory_peak_mib = max(known.memory_peak_mib, used.memory_peak_mib)

    def load_counts(self, steps: Collection[int]) -> dict[int, StepCounts]:
        """Return the counters of steps as they are now."""
        return {step: StepCounts(*self._now(step)) for step in steps}

    def done(self, step: int) -> int:
        """Return how many tasks of a step are done now."""
        return self._now(step)[0][Verdict.DONE]

    def save(self, dataset: DatasetId, dag: Dag) -> None:
        """Write what is new. Raises Unbalanced (invariant I1) where buckets don't add up."""
        steps = sorted({*self._verdicts, *self._known, *self.usage})
        rows = []
        for step in steps:
            counts, _ = self._now(step)
            tasks = dag.dataset.tasks_of(step)
            if is_unbalanced(counts, tasks):
                raise Unbalanced(where=f"{dataset} step {step}", counts=counts, tasks=tasks)
            verdicts = tuple(self._verdicts.get(step, [0] * _WORDS))
            known, used = self._known.get(step, 0), self.usage.get(step, UsageSum())
            if any(verdicts) or known or used != UsageSum():
                rows.append(StepRow(step, verdicts, known, used))
        if rows:
            self._tasks.add_to_steps(self._dataset, rows)
        self._verdicts, self._known, self.usage, self._stored = {}, {}, {}, None

    def _now(self, step: int) -> tuple[dict[Verdict, int], int]:
        if self._stored is None:
            self._stored = {one.step: one for one in self._tasks.steps(self._dataset)}
        row = self._stored.get(step)
        stored, known = (row.verdicts, row.known) if row else ((0,) * _WORDS, 0)
        fresh = self._verdicts.get(step, [0] * _WORDS)
        counts = {w: a + b for w, a, b in zip(VERDICTS, stored, fresh, strict=True)}
        return counts, known + self._known.get(step, 0)
