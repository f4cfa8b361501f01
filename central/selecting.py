"""Selecting tasks of a dataset for a control: by step and job, verdict, fate and site."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bundle.fates import FATES
from bundle.ids import DatasetId
from bundle.intervals import IntervalSet
from central.core import state_byte
from central.core.changes import implied_row
from central.core.controls import make_control, make_region, spelled
from central.core.facts import ControlWord
from central.core.selection import ALL, Only
from central.core.state_byte import VERDICTS, Jobs, Mask
from central.errors import BadControl, SelectionTooLarge
from central.listed import Lister
from central.state import leased
from central.state.blocks import Blocks
from central.state.judge import Judge
from central.store.rows import DatasetRow
from central.workings import Workings

SPANS_MAX = 1_000_000  # of jobs that one control names: a commit holds four million numbers
TASKS_MAX = 100_000_000  # that it names: each gets a byte

Regions = tuple[tuple[int, IntervalSet], ...]


def regions(
    workings: Workings,
    row: DatasetRow,
    word: ControlWord,
    steps: tuple[int, ...] | None,
    jobs: IntervalSet | None,
    only: Only = ALL,
) -> Regions | None:
    """Return the jobs by step that a control is to be about; None is all of the dataset.

    A reset reaches what was computed from them. Raises BadControl, UnknownSite, SelectionTooLarge.
    """
    if word is ControlWord.EDIT:
        raise BadControl(where=row.id, reason="an edit needs a document")
    if steps is not None and any(not 0 <= step < row.steps for step in steps):
        raise BadControl(where=row.id, reason=f"there are steps 0 to {row.steps - 1}")
    if jobs is not None and jobs.spans and jobs.spans[-1][1] > row.jobs:
        raise BadControl(where=row.id, reason=f"there are jobs 0 to {row.jobs - 1}")
    if only.site:
        workings.check_site(only.site)  # a name that is misspelt is no site where nothing ran
    dag = workings.dag(row.digest)
    if only == ALL:
        made = make_control(dag, word, steps, jobs, workings.epoch, 0).regions
    else:
        chosen = _Chooser(workings, row, only)
        found = {
            step: IntervalSet.spanning(chosen.spans(step, its))
            for step, its in make_region(dag, _named(row, steps, jobs), jobs, cascades=False)
        }
        made = spelled(dag, found, cascades=word is ControlWord.RESET)
    _check_size(row, made or ())
    return made


def _check_size(row: DatasetRow, made: Regions) -> None:
    """Raise SelectionTooLarge where a control would take too long to join."""
    tasks = sum(len(its) for _, its in made)
    spans = sum(len(its.spans) for _, its in made)
    reason = ""
    if spans > SPANS_MAX:
        reason = f"its tasks lie in {spans} places, and it names at most {SPANS_MAX}"
    elif tasks > TASKS_MAX:
        reason = f"it is about {tasks} tasks, and names at most {TASKS_MAX}"
    if reason:
        raise SelectionTooLarge(where=row.id, reason=reason)


def preview(
    workings: Workings,
    dataset: DatasetId,
    word: ControlWord,
    steps: tuple[int, ...] | None,
    jobs: IntervalSet | None,
    only: Only = ALL,
) -> dict[str, Any]:
    """Return how many tasks a control would be about, by verdict; changes nothing.

    Raises UnknownDataset, BadControl, SelectionTooLarge.
    """
    row = workings.dataset(dataset)
    dag = workings.dag(row.digest)
    named = regions(workings, row, word, steps, jobs, only)
    if named is None:
        named = make_region(dag, range(row.steps), None, cascades=False)
    lister = Lister(workings, row)
    counts = np.zeros(len(VERDICTS), np.int64)
    for step, its in named:
        begun = its if dag.whole[step] else its & row.touched
        counts[_implied(workings, row, step)] += len(its) - len(begun)
        for _, codes, _ in lister.verdicts(step, begun):
            counts += np.bincount(codes, minlength=len(VERDICTS))
    numbers = zip(VERDICTS, counts.tolist(), strict=True)
    verdicts = {one.value: count for one, count in numbers if count}
    return {"tasks": int(counts.sum()), "dry_run": True, "verdicts": verdicts}


def _implied(workings: Workings, row: DatasetRow, step: int) -> int:
    """Return the verdict of a step's tasks in jobs that nothing happened to, as a code."""
    dag, controls = workings.dag(row.digest), workings.controls(row)
    return VERDICTS.index(implied_row(dag, controls, (step, 0)).verdict)


def _named(
    row: DatasetRow, steps: tuple[int, ...] | None, jobs: IntervalSet | None
) -> tuple[int, ...] | None:
    """Return the steps that are asked for: where nothing is said, those per dataset too."""
    return tuple(range(row.steps)) if steps is None and jobs is None else steps


class _Chooser:
    """Finds the tasks of a dataset that are meant, a block of jobs at a time."""

    def __init__(self, workings: Workings, row: DatasetRow, only: Only) -> None:
        self._w, self._row, self._only = workings, row, only
        self._dag, self._controls = workings.dag(row.digest), workings.controls(row)
        self._lister = Lister(workings, row)
        self._held = self._held_by_site() if only.site and not only.fates else {}

    def spans(self, step: int, jobs: IntervalSet) -> Iterator[tuple[int, int]]:
        """Yield the spans of jobs of a step that are meant."""
        looked = jobs if self._dag.whole[step] else jobs & self._row.touched
        if not self._only.is_of_begun:
            code = np.array([_implied(self._w, self._row, step)], np.uint8)
            if self._only.stands(code, np.zeros(1, np.uint8))[0]:
                yield from (jobs - looked).spans
        for its, codes, failures in self._lister.verdicts(step, looked, self._only.verdicts):
            meant = its[self._only.stands(codes, failures)]
            if len(meant) and (self._only.fates or self._only.site):
                meant = meant[self._tried(step, meant) | self._is_held(step, meant)]
            yield from state_byte.spans_of(meant)

    def _tried(self, step: int, jobs: Jobs) -> Mask:
        """Return which jobs have an attempt that ended so, or ran there, and counts now."""
        found = np.zeros(len(jobs), np.bool_)
        fates = [FATES.index(one) for one in self._only.fates]
        standings = self._controls.standings(step, jobs)
        for one in self._w.recall.touching(self._row.no, step, jobs):
            if self._only.site and one.lease.site != self._only.site:
                continue
            columns = one.columns
            fits = np.asarray(columns["step"]) == step
            if fates:
                fits &= np.isin(columns["fate"], fates)
            its = np.asarray(columns["job"])[fits]
            at = np.minimum(np.searchsorted(jobs, its), len(jobs) - 1)
            generation = np.asarray(columns["generation"])[fits]
            counts = (jobs[at] == its) & (generation >= standings.since[at])
            found[at[counts & (generation <= standings.generation[at])]] = True
        self._w.recall.trim()
        return found

    def _is_held(self, step: int, jobs: Jobs) -> Mask:
        return state_byte.inside(self._held.get(step, IntervalSet()), jobs)

    def _held_by_site(self) -> dict[int, IntervalSet]:
        """Return the tasks that live leases of the site cover, by step."""
        judge = Judge(self._dag, self._controls, Blocks(self._w.store.tasks, self._row.no))
        found: dict[int, IntervalSet] = {}
        for row in self._w.store.datasets.live_on(self._row.no):
            if row.site == self._only.site:
                for step, jobs in leased.standing(judge, self._w.lease(row)).items():
                    found[step] = found.get(step, IntervalSet()) | jobs
        return found
