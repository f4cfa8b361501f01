"""Joining attempts at a step per job into state bytes, for all tasks whose facts fit there.

What does not fit (see `_unfit`) is told by place: the merge judges those one by one, in rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bundle.records.rules import RetryRules
from central.core import state_byte
from central.core.segment_columns import Numbers
from central.core.state_byte import Bytes, Jobs, Mask
from central.state.arrivals import Arrivals
from central.state.blocks import Blocks
from central.state.canonical import Canonical, rising
from central.state.judge import Judge

_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Joined:
    """What became of attempts at one step.

    `changed`: jobs whose byte changed. `unfit`: jobs that the merge must judge. `unfit_attempts`
    and `plain_attempts`: places in the arrivals.
    """

    changed: Jobs
    unfit: Jobs
    unfit_attempts: Numbers
    plain_attempts: Numbers


@dataclass(slots=True)
class _Places:
    """The tasks that attempts of one step are about, ascending, and what arrived for each."""

    jobs: Jobs
    of: Numbers  # for each attempt its task's place in `jobs`
    counts: Mask  # for each attempt whether its generation and spec count
    states: Bytes
    successes: Numbers
    failures: Numbers
    success: Numbers  # place in the arrivals of a success that counts, or -1


def caps_by_fate(rules: RetryRules) -> bool:
    """Return whether how often a task is tried depends on more than how many failures count."""
    return bool(rules.payload_max or rules.resources_max or rules.network_max or rules.staging_max)


class PlainJoin:
    """Joins what fits into the bytes of one dataset."""

    def __init__(self, judge: Judge, blocks: Blocks, canonical: Canonical) -> None:
        """Work on a dataset's bytes."""
        self._judge, self._blocks, self._canonical = judge, blocks, canonical

    def join(self, arrived: Arrivals, step: int, part: Numbers, contested: Mask | None) -> Joined:
        """Join attempts at a step per job.

        Args:
            arrived: all attempts.
            step: the step.
            part: which of them are at this step.
            contested: per segment, whether a segment of the same pilot may hold the same attempts.
        """
        places = self._places(arrived, step, part)
        unfit = self._unfit(arrived, step, part, places, contested)
        fits = ~unfit
        states = places.states.copy()
        is_done = (states & state_byte.DONE) != 0
        counted = fits & ~is_done & (places.failures > 0)
        states[counted] += places.failures[counted].astype(np.uint8)
        succeeded = fits & (places.successes > 0)
        first = succeeded & ~is_done
        kept = 255 - state_byte.FAILURES
        states[first] = (states[first] & kept) | state_byte.DONE
        states[succeeded & is_done] |= state_byte.TWICE
        several = succeeded & (places.successes > 1)
        states[several] |= state_byte.TWICE
        states[fits] |= state_byte.TOUCHED
        changed = states != places.states
        if changed.any():
            self._blocks.write(step, places.jobs[changed], states[changed])
        if self._judge.dag.children[step]:
            self._learn(arrived, step, places, first)
        of_unfit = unfit[places.of]
        return Joined(places.jobs[changed], places.jobs[unfit], part[of_unfit], part[~of_unfit])

    def _places(self, arrived: Arrivals, step: int, part: Numbers) -> _Places:
        jobs = arrived.job[part]
        if rising(jobs):
            of = np.arange(len(jobs))
        else:
            jobs, of = np.unique(jobs, return_inverse=True)
        standings = self._judge.controls.standings(step, jobs)
        generation = arrived.generation[part]
        counts = (generation >= standings.since[of]) & (generation <= standings.generation[of])
        counts &= arrived.current_spec(self._judge.dag, step, part)
        successes = counts & arrived.succeeded(part)
        failures = counts & arrived.failed(part)
        success = np.full(len(jobs), -1, np.int64)
        success[of[successes]] = part[successes]
        count = len(jobs)
        return _Places(
            jobs,
            of,
            counts,
            self._blocks.read(step, jobs),
            np.bincount(of[successes], minlength=count),
            np.bincount(of[failures], minlength=count),
            success,
        )

    def _unfit(
        self,
        arrived: Arrivals,
        step: int,
        part: Numbers,
        places: _Places,
        contested: Mask | None,
    ) -> Mask:
        """Return which tasks have facts that don't fit a byte."""
        dag, states = self._judge.dag, places.states
        unfit: Mask = (states & state_byte.ROW) != 0
        is_done = (states & state_byte.DONE) != 0
        failures = np.where(is_done, 0, states & state_byte.FAILURES) + places.failures
        unfit |= (failures > state_byte.FAILURES_EXACT_MAX) & (places.failures > 0)
        rules = dag.dataset.steps[step].retry
        if caps_by_fate(rules):
            unfit |= places.failures > 0
        if rules.pilots_max:
            lost = arrived.lost(part) & places.counts
            if lost.any():
                unfit[places.of[lost]] = True
        if contested is not None:
            unfit[places.of[contested[arrived.segment[part]]]] = True
        if dag.children[step]:  # children must know which of two outcomes to build upon
            unfit |= (places.successes > 1) | ((places.successes > 0) & is_done)
        has_success = (places.successes > 0) & ~unfit
        if not dag.needs[step]:
            strays = (arrived.consumed[part] > 0) & places.counts
            if strays.any():
                unfit[places.of[strays & arrived.succeeded(part)]] = True
        elif has_success.any():
            unfit |= self._strayed(arrived, step, part, places, has_success)
        return unfit

    def _strayed(
        self, arrived: Arrivals, step: int, part: Numbers, places: _Places, of: Mask
    ) -> Mask:
        """Return which tasks have a success that was made from other parents than the canonical."""
        jobs = places.jobs
        lineages = self._canonical.lineages(step, jobs[of])
        found = np.zeros(len(jobs), np.bool_)
        successes = arrived.succeeded(part) & places.counts & of[places.of]
        its = places.of[successes]
        segments, numbers = arrived.segment[part[successes]], arrived.number[part[successes]]
        rows = zip(its.tolist(), segments.tolist(), numbers.tolist(), strict=True)
        for place, segment, number in rows:
            consumed = arrived.segments[segment].columns.consumed_bytes(number)
            if lineages.get(int(jobs[place])) != consumed:
                found[place] = True
        return found

    def _learn(self, arrived: Arrivals, step: int, places: _Places, first: Mask) -> None:
        """Keep the outcomes that have become canonical, for the children that come with them."""
        its = places.success[first]
        by_segment: dict[int, list[int]] = {}
        for place in its.tolist():
            by_segment.setdefault(int(arrived.segment[place]), []).append(place)
        for segment, several in by_segment.items():
            numbers = arrived.number[several].tolist()
            outcomes = arrived.segments[segment].columns.outcomes(numbers)
            jobs = arrived.job[several].tolist()
            self._canonical.learn(step, dict(zip(jobs, outcomes, strict=True)))
