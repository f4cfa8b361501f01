"""Whether what lies beside the state bytes of a dataset is what they, and the archive, say."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from bundle.intervals import IntervalSet
from central.core import state_byte
from central.core.facts import Place, TaskRow, Verdict
from central.core.state_byte import BLOCK_BITS, BLOCK_JOBS, Bytes, Jobs, Mask
from central.state import leased
from central.state.blocks import Blocks, unpack
from central.state.judge import Judge
from central.state.rowwise import byte_of
from central.store.rows import BlockRow, DatasetRow

if TYPE_CHECKING:
    from central.workings import Workings

NOTHING = IntervalSet()


class Examination:
    """One dataset, looked at block by block. Reads only."""

    def __init__(self, workings: Workings, row: DatasetRow) -> None:
        """Look at a dataset."""
        self._w, self._row = workings, row
        self._tasks = workings.store.tasks
        self._live: Mapping[int, IntervalSet] = {}

    def problems(self) -> Iterator[str]:
        """Yield what is wrong, in words; blocks that can't be read raise BlockDamaged."""
        blocks = Blocks(self._tasks, self._row.no)
        judge = Judge(self._w.dag(self._row.digest), self._w.controls(self._row), blocks)
        self._live = self._covered(judge)
        touched: list[tuple[int, int]] = []
        in_rows: set[Place] = set()
        for one in self._tasks.every_block(self._row.no):
            low = one.block << BLOCK_BITS
            past = 1 if judge.dag.whole[one.step] else min(low + BLOCK_JOBS, self._row.past)
            jobs = np.arange(low, past)
            states = blocks.read(one.step, jobs)
            is_in_row = (states & state_byte.ROW) != 0
            places = [(one.step, job) for job in jobs[is_in_row].tolist()]
            rows = {row.place: row for row in self._tasks.rows(self._row.no, places)}
            in_rows.update(places)
            yield from self._rows(places, rows, states[is_in_row])
            yield from self._numbers(one, judge, jobs, rows.values())
            yield from self._leases(one.step, jobs, states)
            if not judge.dag.whole[one.step]:
                touched += state_byte.spans_of(jobs[states != 0])
            blocks.drop()
        if IntervalSet.spanning(touched) != self._row.touched:
            yield "the jobs it calls touched are not those with states"
        strays = {row.place for row in self._tasks.every_row(self._row.no)} - in_rows
        for step, job in sorted(strays)[:1]:
            yield f"step {step}: job {job} and {len(strays) - 1} others have rows, not states"

    def _covered(self, judge: Judge) -> dict[int, IntervalSet]:
        spans: dict[int, list[tuple[int, int]]] = {}
        for row in self._w.store.datasets.live_on(self._row.no):
            for step, jobs in leased.standing(judge, self._w.lease(row)).items():
                spans.setdefault(step, []).extend(jobs.spans)
        return {step: IntervalSet.spanning(several) for step, several in spans.items()}

    def _rows(
        self, places: Collection[Place], rows: Mapping[Place, TaskRow], states: Bytes
    ) -> Iterator[str]:
        """Compare rows with their bytes, and their attempts with the archive's."""
        if not places:
            return
        for place, state in zip(places, states.tolist(), strict=True):
            row = rows.get(place)
            if row is None or byte_of(row.verdict, row.failures, row.lease, True) != state:
                yield f"step {place[0]}: job {place[1]} has row {row}, its state says {state}"
        has = {
            (one.step, one.job, one.content) for one in self._tasks.attempts(self._row.no, places)
        }
        recalled = self._w.recall.facts(self._row.no, places)
        self._w.recall.trim()
        should = {(one.step, one.job, one.content) for one, _ in recalled}
        for step, job, _ in sorted(has ^ should)[:1]:
            yield f"step {step}: attempts at job {job} are not those of the archive"

    def _numbers(
        self, one: BlockRow, judge: Judge, jobs: Jobs, rows: Collection[TaskRow]
    ) -> Iterator[str]:
        packed = unpack(one.state)
        codes = np.zeros(0, np.uint8)
        if not judge.dag.whole[one.step]:
            states = packed.now[: len(jobs)]
            plain = (states & (state_byte.TOUCHED | state_byte.ROW)) == state_byte.TOUCHED
            codes = judge.verdicts(one.step, jobs)[plain]
        for word, code, numbers in (
            (Verdict.READY, state_byte.READY, (one.ready, packed.ready)),
            (Verdict.FAILED, state_byte.FAILED, (one.failed, packed.failed)),
        ):
            should = int(np.count_nonzero(codes == code))
            should += sum(row.verdict is word for row in rows)
            if numbers != (should, should):
                yield (
                    f"step {one.step} block {one.block}: {numbers[0]} and {numbers[1]} tasks"
                    f" are noted as {word}, {should} are"
                )

    def _leases(self, step: int, jobs: Jobs, states: Bytes) -> Iterator[str]:
        marked: Mask = (states & state_byte.LEASED) != 0
        covered = state_byte.inside(self._live.get(step, NOTHING), jobs)
        for words, wrong in (
            ("are marked as leased, no live lease covers them", marked & ~covered),
            ("are covered by a live lease and not marked", covered & ~marked),
        ):
            for first, past in state_byte.spans_of(jobs[wrong])[:1]:
                yield f"step {step}: jobs {first} to {past - 1} {words}"
