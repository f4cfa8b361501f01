"""Which outcome of a task its children are to build upon, for many tasks at once."""

from __future__ import annotations

import numpy as np

from central.core import state_byte
from central.core.state_byte import Jobs
from central.state.blocks import Blocks
from central.state.judge import FIRST, Judge
from central.state.recall import Recall
from central.store.protocol import Store


class Canonical:
    """Outcomes of a dataset's tasks, learned in this transaction or read back from the archive."""

    def __init__(
        self, store: Store, dataset: int, judge: Judge, blocks: Blocks, recall: Recall
    ) -> None:
        """Look at a dataset."""
        self._store, self._dataset = store, dataset
        self._judge, self._blocks, self._recall = judge, blocks, recall
        self._learned: dict[int, dict[int, bytes]] = {}
        self.without: frozenset[int] = frozenset()  # numbers of segments that are being joined

    def learn(self, step: int, outcomes: dict[int, bytes]) -> None:
        """Note outcomes by job that have become canonical."""
        self._learned.setdefault(step, {}).update(outcomes)

    def forget(self) -> None:
        """Forget what was learned: controls changed."""
        self._learned.clear()

    def outcomes(self, step: int, jobs: Jobs) -> dict[int, bytes]:
        """Return the canonical outcomes of those of ascending jobs that have one.

        Those of tasks that have rows stand in the rows; a task whose facts fit a byte has one
        outcome, or the smallest of several that nothing is built upon.
        """
        learned = self._learned.get(step, {})
        found = {job: learned[job] for job in jobs.tolist() if job in learned}
        left = jobs[[job not in found for job in jobs.tolist()]] if found else jobs
        if not len(left):
            return found
        states = self._blocks.read(step, left)
        in_row = left[(states & state_byte.ROW) != 0]
        if len(in_row):
            places = [(step, job) for job in in_row.tolist()]
            rows = self._store.tasks.rows(self._dataset, places)
            found |= {row.job: row.outcome for row in rows if row.outcome}
        plain = left[(states & (state_byte.ROW | state_byte.DONE)) == state_byte.DONE]
        if len(plain):
            judge = self._judge
            successes = self._recall.successes(
                self._dataset, (judge.dag, judge.controls), step, plain, self.without
            )
            found |= {
                job: min(one.outcome() for one in several) for job, several in successes.items()
            }
        return found

    def of_parent(self, parent: int, jobs: Jobs) -> dict[int, bytes]:
        """Return by job the outcome of a parent that each job's task is to build upon."""
        if not self._judge.dag.single[parent]:
            return self.outcomes(parent, jobs)
        one = self.outcomes(parent, FIRST).get(0)
        return {} if one is None else dict.fromkeys(jobs.tolist(), one)

    def lineages(self, step: int, jobs: Jobs) -> dict[int, bytes]:
        """Return by job all that its task is to consume, where every parent has an outcome."""
        parents = [self.of_parent(one, jobs) for one in self._judge.dag.needs[step]]
        return {
            job: b"".join(one[job] for one in parents)
            for job in jobs.tolist()
            if all(job in one for one in parents)
        }


def rising(jobs: Jobs) -> bool:
    """Return whether jobs ascend strictly."""
    return bool(np.all(jobs[1:] > jobs[:-1]))
