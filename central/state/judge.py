"""Verdicts of many tasks at once, from their bytes, those of their parents and the controls."""

from __future__ import annotations

import numpy as np

from central.core import state_byte
from central.core.controls import Controls
from central.core.dag import Dag
from central.core.state_byte import Bytes, Jobs, Mask
from central.state.blocks import Blocks

FIRST = np.zeros(1, np.int64)  # the one job of a step per dataset


class Judge:
    """A dataset's document and controls, looked at through its state bytes."""

    def __init__(self, dag: Dag, controls: Controls, blocks: Blocks) -> None:
        """Judge by these; `blocks` is what changes."""
        self.dag, self.controls, self._blocks = dag, controls, blocks
        self._missing: dict[int, int] = {}  # by step, the parent that no job looked at had done

    def done(self, step: int, jobs: Jobs, *, before: bool = False) -> Mask:
        """Return which jobs of a step are done."""
        states = self._blocks.read(step, jobs, before=before)
        return state_byte.done(states, self.controls.standings(step, jobs).flags)

    def verdicts(self, step: int, jobs: Jobs, *, before: bool = False) -> Bytes:
        """Return the verdict of each of a step's jobs, as its place in `Verdict` or IN_ROW."""
        states = self._blocks.read(step, jobs, before=before)
        flags = self.controls.standings(step, jobs).flags
        failures_max = self.dag.dataset.steps[step].failures_max
        parents = self.parents_done(step, jobs, before=before)
        return state_byte.verdicts(states, failures_max, flags, parents)

    def parents_done(self, step: int, jobs: Jobs, *, before: bool = False) -> Mask:
        """Return for which jobs of a step per job all parents are done.

        The parent that was missing last time comes first: of a thousand that end one after the
        other, it mostly settles the matter alone.
        """
        found = np.ones(len(jobs), np.bool_)
        needs, first = self.dag.needs[step], self._missing.get(step, 0)
        for place in (*range(first, len(needs)), *range(first)):
            parent = needs[place]
            if self.dag.single[parent]:
                found &= self.done(parent, FIRST, before=before)[0]
            else:
                found &= self.done(parent, jobs, before=before)
            if not found.any():
                self._missing[step] = place
                break
        return found

    def job_children(self, step: int) -> list[int]:
        """Return the steps per job that need a step."""
        return [one for one in self.dag.children[step] if not self.dag.whole[one]]
