"""Lists of tasks and jobs: verdicts of thousands at once, a block of jobs after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bundle.ids import JOB_MAX
from central.core import state_byte
from central.core.changes import implied_row
from central.core.facts import Place, Verdict
from central.core.state_byte import BLOCK_JOBS, IN_ROW, VERDICTS, Bytes, Jobs
from central.state.blocks import Blocks
from central.state.judge import Judge
from central.store.rows import BlockKey, DatasetRow
from central.workings import Workings

PIECE_ROWS = 8192  # of a stream, made at once
JOBS_AT_ONCE = 4096
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

    def page(self, chosen: Chosen, after: Place, limit: int) -> list[dict[str, Any]]:
        """Return tasks after a place, by step and job."""
        found: list[dict[str, Any]] = []
        for step, jobs, codes, failures in self._parts(chosen, after):
            left = limit - len(found)
            rows = zip(
                jobs[:left].tolist(), codes[:left].tolist(), failures[:left].tolist(), strict=True
            )
            found += [
                {"job": job, "step": step, "verdict": VERDICTS[code].value, "failures": count}
                for job, code, count in rows
            ]
            if len(found) >= limit:
                break
        return found

    def lines(self, chosen: Chosen, after: Place, rows_max: int) -> tuple[bytes, Place | None]:
        """Return about so many tasks after a place as lines of JSON, and the last one's place.

        None: there are no more.
        """
        pieces: list[bytes] = []
        count, last = 0, after
        for step, jobs, codes, failures in self._parts(chosen, after):
            left = rows_max - count
            some = jobs[:left]
            pieces.append(_lines(step, some, codes[:left], failures[:left]))
            count += len(some)
            last = (step, int(some[-1]))
            if count >= rows_max:
                return b"".join(pieces), last
        return b"".join(pieces), None

    def jobs(self, state: str | None, after: int, limit: int) -> list[dict[str, Any]]:
        """Return jobs after one, with the verdict of each of their tasks."""
        per_job = [n for n in range(len(self._dag.whole)) if not self._dag.whole[n]]
        names = [self._dag.dataset.steps[n].name for n in per_job]
        found: list[dict[str, Any]] = []
        for low in range(after + 1, self._row.jobs, JOBS_AT_ONCE):
            jobs = np.arange(low, min(low + JOBS_AT_ONCE, self._row.jobs))
            judge = self._judge()
            codes = [self._codes(judge, step, jobs)[0].tolist() for step in per_job]
            for place, job in enumerate(jobs.tolist()):
                words = [VERDICTS[one[place]] for one in codes]
                its = job_state(words)
                if state is None or its == state:
                    verdicts = {n: v.value for n, v in zip(names, words, strict=True)}
                    found.append({"job": job, "state": its, "verdicts": verdicts})
                if len(found) == limit:
                    return found
        return found

    def _parts(self, chosen: Chosen, after: Place) -> Iterator[tuple[int, Jobs, Bytes, Bytes]]:
        """Yield (step, jobs, codes of verdicts, failures) of what is asked for; none is empty."""
        code = None if chosen.verdict is None else VERDICTS.index(chosen.verdict)
        failed = self._with_failed() if chosen.verdict is Verdict.FAILED else None
        for step in range(after[0], len(self._dag.whole)):
            if chosen.step is not None and step != chosen.step:
                continue
            first = max(chosen.first, after[1] + 1 if step == after[0] else 0)
            past = min(chosen.last + 1, self._dag.dataset.tasks_of(step))
            while first < past:
                block = first // BLOCK_JOBS
                end = min(past, (block + 1) * BLOCK_JOBS)
                if failed is not None and (step, block) not in failed and not self._dag.whole[step]:
                    first = end
                    continue
                jobs = np.arange(first, end)
                codes, failures = self._codes(self._judge(), step, jobs)
                if code is not None:
                    fits = codes == code
                    jobs, codes, failures = jobs[fits], codes[fits], failures[fits]
                if len(jobs):
                    yield step, jobs, codes, failures
                first = end

    def _with_failed(self) -> set[BlockKey]:
        """Return the blocks that have failed tasks: what did not fail is not looked at."""
        found: set[BlockKey] = set()
        last: BlockKey = (-1, -1)
        while True:
            keys = self._w.store.tasks.blocks_with(
                self._row.no, Verdict.FAILED, BLOCKS_AT_ONCE, last
            )
            found.update(keys)
            if len(keys) < BLOCKS_AT_ONCE:
                return found
            last = keys[-1]

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
            low = int(jobs[0])
            for row in self._w.store.tasks.rows(self._row.no, places):
                codes[row.job - low] = VERDICTS.index(row.verdict)
                failures[row.job - low] = min(row.failures, 255)
        return codes, failures.astype(np.uint8)


def job_state(verdicts: list[Verdict]) -> str:
    """Return one word for a job: what most needs to be known of its tasks."""
    there = set(verdicts)
    for word in (Verdict.FAILED, Verdict.REMOVED, Verdict.CANCELLED, Verdict.LEASED):
        if word in there:
            return word.value
    if there == {Verdict.DONE}:
        return Verdict.DONE.value
    return Verdict.READY.value if Verdict.READY in there else Verdict.HELD.value


def _lines(step: int, jobs: Jobs, codes: Bytes, failures: Bytes) -> bytes:
    words = [one.value for one in VERDICTS]
    rows = zip(jobs.tolist(), codes.tolist(), failures.tolist(), strict=True)
    return "".join(
        f'{{"job": {job}, "step": {step}, "verdict": "{words[code]}", "failures": {count}}}\n'
        for job, code, count in rows
    ).encode()
