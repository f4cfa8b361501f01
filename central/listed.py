"""Lists of tasks and jobs: verdicts of thousands at once, a block of jobs after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle.ids import JOB_MAX
from bundle.intervals import IntervalSet
from central.core import state_byte
from central.core.changes import implied_row
from central.core.facts import Place, Verdict
from central.core.state_byte import BLOCK_BITS, BLOCK_JOBS, IN_ROW, VERDICTS, Bytes, Jobs
from central.state.blocks import Blocks
from central.state.judge import Judge
from central.store.rows import BlockKey, DatasetRow
from central.workings import Workings

PIECE_ROWS = 8192  # of a stream, made at once
JOBS_AT_ONCE = 4096
TASKS_AT_ONCE = 1 << 19  # that one page of jobs looks at, or a few more
LOOKED_MAX = 1 << 22  # tasks that one page or piece looks at, whatever of them is asked for
LOOKED_S = 1.0  # where controls of many runs of jobs make that slow
PART_COSTS = 1024  # tasks that could be looked at in the time that it takes to begin a block
BLOCKS_AT_ONCE = 1000
BEFORE: Place = (0, -1)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which tasks are asked for."""

    step: int | None = None
    verdict: Verdict | None = None
    first: int = 0
    last: int = JOB_MAX


class Lister:
    """The tasks of one dataset as they are in one snapshot of the store."""

    def __init__(self, workings: Workings, row: DatasetRow) -> None:
        """Look at a dataset."""
        self._w, self._row = workings, row
        self._dag, self._controls = workings.dag(row.digest), workings.controls(row)

    def page(
        self, chosen: Chosen, after: Place, limit: int
    ) -> tuple[list[dict[str, Any]], Place | None]:
        """Return tasks after a place, by step and job, and where the next page goes on after.

        None: there are no more. A page ends early where enough was looked at.
        """
        found: list[dict[str, Any]] = []
        looked, until_s = 0, monotonic() + LOOKED_S
        for step, looked_at, jobs, codes, failures in self._parts(chosen, after):
            left = limit - len(found)
            rows = zip(
                jobs[:left].tolist(), codes[:left].tolist(), failures[:left].tolist(), strict=True
            )
            found += [
                {"job": job, "step": step, "verdict": VERDICTS[code].value, "failures": count}
                for job, code, count in rows
            ]
            if len(found) >= limit:
                return found, (step, found[-1]["job"])
            looked += PART_COSTS + len(looked_at)
            if looked >= LOOKED_MAX or monotonic() > until_s:
                return found, (step, looked_at[-1])
        return found, None

    def lines(self, chosen: Chosen, after: Place, rows_max: int) -> tuple[bytes, Place | None]:
        """Return about so many tasks after a place as lines of JSON, and where they go on after.

        None: there are no more. There may be none of them where enough was looked at.
        """
        pieces: list[bytes] = []
        count, looked, until_s = 0, 0, monotonic() + LOOKED_S
        for step, looked_at, jobs, codes, failures in self._parts(chosen, after):
            left = rows_max - count
            some = jobs[:left]
            pieces.append(_lines(step, some, codes[:left], failures[:left]))
            count += len(some)
            if count >= rows_max:
                return b"".join(pieces), (step, int(some[-1]))
            looked += PART_COSTS + len(looked_at)
            if looked >= LOOKED_MAX or monotonic() > until_s:
                return b"".join(pieces), (step, looked_at[-1])
        return b"".join(pieces), None

    def jobs(
        self, state: str | None, after: int, limit: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Return jobs after one, with the verdict of each of their tasks, and the last one seen.

        None: there are no more. A page ends early where enough was looked at.
        """
        per_job = [n for n in range(len(self._dag.whole)) if not self._dag.whole[n]]
        names = [self._dag.dataset.steps[n].name for n in per_job]
        at_once = max(1, min(JOBS_AT_ONCE, TASKS_AT_ONCE // max(1, len(per_job))))
        found: list[dict[str, Any]] = []
        looked, until_s = 0, monotonic() + LOOKED_S
        for low in range(after + 1, self._row.jobs, at_once):
            jobs = np.arange(low, min(low + at_once, self._row.jobs))
            judge = self._judge()
            codes = np.zeros((len(per_job), len(jobs)), np.uint8)
            for place, step in enumerate(per_job):
                codes[place] = self._codes(judge, step, jobs)[0]
            states = _states(codes)
            wanted = range(len(jobs)) if state is None else np.flatnonzero(states == state).tolist()
            for at in wanted:
                words = (VERDICTS[code].value for code in codes[:, at].tolist())
                verdicts = dict(zip(names, words, strict=True))
                found.append({"job": low + at, "state": str(states[at]), "verdicts": verdicts})
                if len(found) == limit:
                    return found, low + at
            looked += len(jobs) * len(per_job)
            is_enough = looked >= TASKS_AT_ONCE or monotonic() > until_s
            if is_enough and low + at_once < self._row.jobs:
                return found, int(jobs[-1])
        return found, None

    def verdicts(
        self, step: int, jobs: IntervalSet, only: Collection[Verdict] = ()
    ) -> Iterator[tuple[Jobs, Bytes, Bytes]]:
        """Yield (jobs, codes of verdicts, failures) of jobs of a step, a block after the other.

        Args:
            step: the step.
            jobs: which of its jobs.
            only: where these are all that matters, blocks without any may be left out.
        """
        blocks: Iterable[int] = state_byte.blocks_within(jobs)
        if set(only) == {Verdict.FAILED} and not self._dag.whole[step]:
            failed = set(self._with_failed().get(step, ()))
            blocks = [block for block in blocks if block in failed]
        for block in blocks:
            low = block << BLOCK_BITS
            its = state_byte.jobs_of(jobs.within(low, low + BLOCK_JOBS).spans)
            yield its, *self._codes(self._judge(), step, its)

    def _parts(
        self, chosen: Chosen, after: Place
    ) -> Iterator[tuple[int, range, Jobs, Bytes, Bytes]]:
        """Yield (step, jobs looked at, those asked for, codes of verdicts, failures)."""
        code = None if chosen.verdict is None else VERDICTS.index(chosen.verdict)
        failed = self._with_failed() if chosen.verdict is Verdict.FAILED else None
        steps = range(after[0], len(self._dag.whole))
        for step in steps if chosen.step is None else (s for s in (chosen.step,) if s in steps):
            first = max(chosen.first, after[1] + 1 if step == after[0] else 0)
            past = min(chosen.last + 1, self._dag.dataset.tasks_of(step))
            blocks: Iterable[int] = range(first // BLOCK_JOBS, -(-past // BLOCK_JOBS))
            if failed is not None and not self._dag.whole[step]:
                blocks = failed.get(step, ())
            for block in blocks:
                low = max(first, block * BLOCK_JOBS)
                looked_at = range(low, min(past, (block + 1) * BLOCK_JOBS))
                if not looked_at:
                    continue
                jobs = np.arange(looked_at.start, looked_at.stop)
                codes, failures = self._codes(self._judge(), step, jobs)
                if code is not None:
                    fits = codes == code
                    jobs, codes, failures = jobs[fits], codes[fits], failures[fits]
                yield step, looked_at, jobs, codes, failures

    def _with_failed(self) -> dict[int, list[int]]:
        """Return by step the blocks that have failed tasks: what did not fail is not looked at."""
        found: set[BlockKey] = set()
        last: BlockKey = (-1, -1)
        while True:
            keys = self._w.store.tasks.blocks_with(
                self._row.no, Verdict.FAILED, BLOCKS_AT_ONCE, last
            )
            found.update(keys)
            if len(keys) < BLOCKS_AT_ONCE:
                break
            last = keys[-1]
        by_step: dict[int, list[int]] = {}
        for step, block in sorted(found):
            by_step.setdefault(step, []).append(block)
        return by_step

    def _judge(self) -> Judge:
        self._blocks = Blocks(self._w.store.tasks, self._row.no)  # kept no longer than looked at
        return Judge(self._dag, self._controls, self._blocks)

    def _codes(self, judge: Judge, step: int, jobs: Jobs) -> tuple[Bytes, Bytes]:
        """Return verdicts and counted failures of jobs of a step."""
        states = self._blocks.read(step, jobs)
        failures = np.where((states & state_byte.DONE) != 0, 0, states & state_byte.FAILURES)
        if self._dag.whole[step]:
            implied = implied_row(self._dag, self._controls, (step, 0)).verdict
            codes = np.full(len(jobs), VERDICTS.index(implied), np.uint8)
            in_row = np.ones(len(jobs), np.bool_)
        else:
            codes = judge.verdicts(step, jobs).copy()
            in_row = ((states & state_byte.ROW) != 0) | (codes == IN_ROW)
        if in_row.any():
            places = [(step, job) for job in jobs[in_row].tolist()]
            for row in self._w.store.tasks.rows(self._row.no, places):
                at = int(np.searchsorted(jobs, row.job))
                codes[at] = VERDICTS.index(row.verdict)
                failures[at] = min(row.failures, 255)
        return codes, failures.astype(np.uint8)


def _states(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.str_]:
    """Return one word for each job: what most needs to be known of its tasks.

    `codes`: of verdicts, a row per step and a column per job.
    """
    has = {word: (codes == VERDICTS.index(word)) for word in Verdict}
    some = [Verdict.FAILED, Verdict.REMOVED, Verdict.CANCELLED, Verdict.LEASED]
    conditions = [has[word].any(axis=0) for word in some]
    conditions += [has[Verdict.DONE].all(axis=0) & bool(len(codes)), has[Verdict.READY].any(axis=0)]
    words = [word.value for word in (*some, Verdict.DONE, Verdict.READY)]
    return np.select(conditions, words, Verdict.HELD.value)


def _lines(step: int, jobs: Jobs, codes: Bytes, failures: Bytes) -> bytes:
    words = [one.value for one in VERDICTS]
    rows = zip(jobs.tolist(), codes.tolist(), failures.tolist(), strict=True)
    return "".join(
        f'{{"job": {job}, "step": {step}, "verdict": "{words[code]}", "failures": {count}}}\n'
        for job, code, count in rows
    ).encode()
