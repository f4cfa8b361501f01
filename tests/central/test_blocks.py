"""Datasets of several blocks of jobs, and of the most jobs there can be."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Output, Per, Step
from bundle.fates import Fate
from bundle.ids import JOB_MAX, LeaseId, PilotRun
from bundle.intervals import IntervalSet
from bundle.records.attempt import Attempt, Usage, outcome_digest
from bundle.records.lease import Block, Lease
from central.core.controls import make_control
from central.core.dag import Dag
from central.core.facts import ControlWord, Verdict
from central.core.state_byte import BLOCK_JOBS
from central.state import reading
from central.state.blocks import packed_block, states_of
from central.state.reading import READY_BLOCKS_FIRST, Reading
from central.store.rows import BlockKey
from central.store.tasks import StoredTasks
from tests.central.board import Board, store_in
from tests.central.memory import DATASET, EPOCH

RUN = Command(("/bin/true",))
EDGE = (BLOCK_JOBS - 2, BLOCK_JOBS + 2)  # jobs on both sides of the edge of a block
LEASE, PILOT = LeaseId(b"l" * 16), PilotRun(b"r" * 8)


def made_of(jobs: int, *, below: bool) -> Dataset:
    """A step per dataset, two steps per job, and where asked one per dataset below them."""
    steps = [
        Step("first", RUN, per=Per.DATASET, outputs=(Output("x"),)),
        Step("a", RUN, needs=(0,), outputs=(Output("y"),)),
        Step("b", RUN, needs=(1,)),
    ]
    if below:
        steps.append(Step("all", RUN, per=Per.DATASET, needs=(2,)))
    return Dataset("wide", jobs, 1, tuple(steps))


class Wide:
    """A wide dataset on a board, and the attempts of its tasks."""

    def __init__(self, folder: Path, jobs: int, *, below: bool = False) -> None:
        document = made_of(jobs, below=below)
        self.dag = Dag(document, spec.dataset_digest(spec.encode(document)))
        self.store = store_in(folder)
        self.board = Board(self.store, document)
        self.number = 0
        self.board.know_lease(self.lease(LEASE, 0, jobs))

    def lease(self, name: LeaseId, low: int, past: int) -> Lease:
        blocks = (
            Block(0, IntervalSet.of([0]), tuple(n for n, one in enumerate(self.dag.whole) if one)),
            Block(0, IntervalSet(((low, past),)), (1, 2)),
        )
        hashes = tuple((n, self.dag.spec_hash(n)) for n in range(len(self.dag.whole)))
        about = (name, DATASET, self.dag.digest, 0, blocks, hashes, (), (), (), ())
        return Lease(*about, 3_600_000)

    def success(self, step: int, job: int) -> Attempt:
        outcomes = {0: (), 1: (self._outcome(0, 0),), 2: (self._outcome(1, job),)}
        self.number += 1
        about = (0, 0, 1, 2, 3, 0, Usage(1, 1, 1, 1, 1, 1), outcomes[step])
        local = self.number
        return Attempt(job, step, 0, local, Fate.SUCCESS, *about, self._made(step, job))

    def bring(self, *tasks: tuple[int, int]) -> None:
        attempts = tuple(self.success(*one) for one in tasks)
        self.board.join([(LEASE, PILOT, attempts)])

    def counts(self, step: int) -> dict[Verdict, int]:
        rows = {one.step: one for one in self.store.tasks.steps(self.board.no)}
        found = dict(zip(Verdict, rows[step].verdicts, strict=True)) if step in rows else {}
        return {word: count for word, count in found.items() if count}

    def reading(self) -> Reading:
        return Reading(self.board._workings(), self.board.row)

    def _made(self, step: int, job: int) -> tuple[tuple[bytes, int], ...]:
        if not self.dag.dataset.steps[step].outputs:
            return ()
        return ((bytes([step]) + job.to_bytes(8, "big") + b"o" * 23, 7),)

    def _outcome(self, step: int, job: int) -> bytes:
        return outcome_digest(self._made(step, job))


@pytest.fixture
def wide(tmp_path: Path) -> Iterator[Wide]:
    found = Wide(tmp_path, 3 * BLOCK_JOBS + 5, below=True)
    yield found
    found.store.close()


def test_jobs_on_both_sides_of_an_edge_are_of_one_kind(wide: Wide) -> None:
    jobs = range(*EDGE)
    wide.bring((0, 0))
    wide.bring(*((1, job) for job in jobs))
    others = wide.dag.dataset.jobs - 4  # the step above is done: all of them are ready
    assert wide.counts(1) == {Verdict.DONE: 4, Verdict.READY: others}
    assert wide.counts(2) == {Verdict.READY: 4}
    assert wide.reading().ready(10, (2,)) == [(2, job) for job in jobs]
    wide.bring(*((2, job) for job in jobs))
    assert wide.reading().spans(Verdict.DONE) == [(0, 0, 1), (1, EDGE[0], 4), (2, EDGE[0], 4)]
    assert wide.board.problems() == []


def test_a_step_above_that_is_done_late_opens_every_begun_job(wide: Wide) -> None:
    far = 3 * BLOCK_JOBS + 4
    wide.board.add_lease(replace(wide.lease(LeaseId(b"m" * 16), EDGE[0], EDGE[1])))
    wide.board.add_lease(wide.lease(LeaseId(b"n" * 16), far, far + 1))
    assert wide.counts(1) == {Verdict.LEASED: 5}
    wide.board.end_leases([b"m" * 16])
    assert wide.counts(1) == {Verdict.HELD: 4, Verdict.LEASED: 1}
    wide.bring((0, 0))
    assert wide.counts(1)[Verdict.READY] >= 4
    assert wide.board.problems() == []
    wide.board.end_leases([b"n" * 16])
    assert set(wide.reading().ready(100_000_000)) >= {(1, far), (1, EDGE[0])}
    assert wide.board.problems() == []


def test_controls_over_an_edge_touch_what_they_name(wide: Wide) -> None:
    wide.bring((0, 0))
    wide.bring(*((1, job) for job in range(BLOCK_JOBS - 4, BLOCK_JOBS + 4)))
    for number, word in enumerate((ControlWord.RESET, ControlWord.ADOPT)):
        jobs = IntervalSet((EDGE,))
        asked = make_control(wide.dag, word, (1,), jobs, EPOCH, 1000 + number)
        wide.board.join([], [], [asked])
        done = {ControlWord.RESET: 4, ControlWord.ADOPT: 8}[word]
        assert wide.counts(1)[Verdict.DONE] == done
        assert wide.board.problems() == []
    hidden = make_control(wide.dag, ControlWord.SUSPEND, None, None, EPOCH, 2000)
    wide.board.join([], [], [hidden])
    assert Verdict.READY not in wide.counts(2)
    assert wide.board.problems() == []


def test_the_last_job_that_there_can_be_is_one_like_any_other(tmp_path: Path) -> None:
    wide = Wide(tmp_path, JOB_MAX + 1)
    last = [JOB_MAX - 1, JOB_MAX]
    try:
        wide.board.join([(LEASE, PILOT, tuple(wide.success(1, job) for job in last))])
        assert wide.counts(1).get(Verdict.DONE, 0) == 0  # its parent has no outcome yet
        asked = make_control(wide.dag, ControlWord.RESET, (2,), IntervalSet.of(last), EPOCH, 1000)
        wide.board.join([], [], [asked])
        assert wide.board.row.touched == IntervalSet.of(last)
        assert wide.board.problems() == []
        asked = make_control(wide.dag, ControlWord.TOMBSTONE, None, None, EPOCH, 1001)
        wide.board.join([], [], [asked])
        assert wide.reading().spans(Verdict.REMOVED)[-1] == (2, JOB_MAX - 1, 2)
        assert wide.board.problems() == []
    finally:
        wide.store.close()


def test_so_many_blocks_are_read_as_ready_tasks_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = Wide(tmp_path, 20 * BLOCK_JOBS)
    wide.bring((0, 0))
    read: list[int] = []
    stored = StoredTasks.blocks

    def blocks(
        tasks: StoredTasks, dataset: int, keys: Collection[BlockKey]
    ) -> dict[BlockKey, bytes]:
        read.append(len(keys))
        return stored(tasks, dataset, keys)

    monkeypatch.setattr(StoredTasks, "blocks", blocks)
    assert wide.reading().ready(1000) == [(1, job) for job in range(1000)]
    assert sum(read) <= READY_BLOCKS_FIRST + 1  # that of the step above
    read.clear()
    every = wide.reading().ready(20 * BLOCK_JOBS)
    assert len(every) == 20 * BLOCK_JOBS
    assert sum(read) == 21
    wide.store.close()


def test_ready_tasks_of_other_steps_hide_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = Wide(tmp_path, 20 * BLOCK_JOBS)
    last = 20 * BLOCK_JOBS - 1
    wide.bring((0, 0))
    wide.bring((1, last))
    monkeypatch.setattr(reading, "READY_BLOCKS_MAX", 3)
    assert wide.reading().ready(10, (2,)) == [(2, last)]
    assert len(wide.reading().ready(20 * BLOCK_JOBS, (1,))) == 3 * BLOCK_JOBS
    wide.store.close()


def test_threads_that_pack_and_read_blocks_at_once_get_each_their_own() -> None:
    """Reads go on in several threads beside each other, and beside a merge."""

    def mine(seed: int) -> bool:
        states = np.random.default_rng(seed).integers(0, 256, BLOCK_JOBS).astype(np.uint8)
        rounds = (states_of(packed_block(states)) for _ in range(200))
        return all(np.array_equal(one, states) for one in rounds)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(mine, range(8)))
