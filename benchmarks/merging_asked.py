"""What people ask and order of a dataset of ten million touched tasks, in milliseconds."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.clock import spending
from benchmarks.filled import Filled
from benchmarks.table import Row, below
from bundle.ids import Task
from bundle.intervals import IntervalSet
from central.core import state_byte
from central.core.changes import UsageSum
from central.core.edit import Size
from central.core.facts import ControlWord, Verdict
from central.core.selection import Only
from central.core.state_byte import BLOCK_BITS, BLOCK_JOBS
from central.state.blocks import packed_block, states_of
from central.state.reading import Reading
from central.store.rows import BlockRow, StepRow
from central.views import Views

BENCH = "merging"
ROUNDS = 5
TIMES = 20  # of one question in a row
FAILED_EVERY = 33  # three of a hundred
FAILED = 300_000
REPLAY_MS = (1.0, 0.2)


def measure(one: Filled) -> Iterator[Row]:
    """Yield the rows; results were merged into the central before. It is of no use afterwards."""
    yield from _replays(one)
    dataset = one.row.id
    job = one.tasks  # the first of those that really ran
    questions: dict[str, Callable[[], object]] = {
        "verdict of one task": lambda: Reading(one.workings, one.row).rows([(0, job)]),
        "one task's attempts, out of the archive": lambda: one.authority.attempts(
            dataset, step=0, job=job, fate=None, limit=100, after=None
        ),
        "one task's whole story": lambda: one.authority.task(Task(dataset, job, 0)),
        "the first 100 failed attempts": lambda: one.authority.attempts(
            dataset, step=None, job=None, fate="payload-error", limit=100, after=None
        ),
        "counts by step and verdict, nothing kept": lambda: Views(one.workings).counts(dataset),
    }
    for what, ask in questions.items():
        yield Row(BENCH, f"10M: {what}", _ms(ask), "ms")
    yield from _orders(one)


def _replays(one: Filled) -> Iterator[Row]:
    """Yield what it takes to answer for a bundle that was merged already."""
    path, _ = one.answer(one.lease_fresh(10_000, 10_000))
    done = one.authority.absorb(path)
    bundle = done.bundle
    assert bundle is not None
    what = "10M: a merged bundle of 10,000 named again, by its digest"
    yield below(BENCH, what, _ms(lambda: one.authority.known(bundle)), "ms", *REPLAY_MS)
    what = "10M: the same sent again whole (opened, verified, tallied durably)"
    yield Row(BENCH, what, _ms(lambda: one.authority.absorb(path)), "ms")


def _orders(one: Filled) -> Iterator[Row]:
    """Yield what controls take, medians of rounds."""
    keys = itertools.count()

    def order(word: ControlWord, jobs: IntervalSet | None = None) -> float:
        with spending(one.other_cpu) as spent:
            one.authority.control(
                one.row.id, word, jobs, None, idempotency_key=f"bench {next(keys)}", token_id=1
            )
        return spent.cpu_s * 1000

    suspended, resumed = [], []
    for _ in range(ROUNDS):
        suspended.append(order(ControlWord.SUSPEND))
        resumed.append(order(ControlWord.RESUME))
    yield Row(BENCH, "suspend a dataset of 10M: CPU", statistics.median(suspended), "ms")
    yield Row(BENCH, "resume it: CPU", statistics.median(resumed), "ms")
    yield from _ranges(one, order)
    yield from _sizes(one)
    reset = order(ControlWord.RESET, _fail(one))
    yield Row(BENCH, f"reset {FAILED:,} failed of 10M, none beside another: CPU", reset, "ms")


def _ranges(
    one: Filled, order: Callable[[ControlWord, IntervalSet | None], float]
) -> Iterator[Row]:
    """Yield what a control of all jobs but one takes, which names them."""
    jobs = IntervalSet(((1, one.row.jobs),))
    suspended, resumed = [], []
    for _ in range(ROUNDS):
        suspended.append(order(ControlWord.SUSPEND, jobs))
        resumed.append(order(ControlWord.RESUME, jobs))
    for word, took in (("suspend", suspended), ("resume", resumed)):
        what = f"{word} a range of 10M: CPU"
        yield below(BENCH, what, statistics.median(took), "ms", 1000.0, 1.0)


def _sizes(one: Filled) -> Iterator[Row]:
    """Yield what extending and truncating take, and counting what a selection means."""
    keys = itertools.count()

    def resize(size: Size) -> float:
        with spending(one.other_cpu) as spent:
            one.authority.resize(one.row.id, size, idempotency_key=f"size {next(keys)}", token_id=1)
        return spent.cpu_s * 1000

    jobs = one.row.jobs
    extended, truncated = [], []
    for _ in range(ROUNDS):
        extended.append(resize(Size(more=10_000_000)))
        truncated.append(resize(Size(jobs=jobs)))
    yield Row(BENCH, "extend 10M by 10M jobs: CPU", statistics.median(extended), "ms")
    yield Row(BENCH, "truncate them: CPU", statistics.median(truncated), "ms")
    asked = (ControlWord.RESET, None, None, Only(soft=True))
    took = _ms(lambda: one.authority.preview(one.row.id, *asked), times=1)
    yield Row(BENCH, "count a soft reset of 10M: CPU", took, "ms")


def _fail(one: Filled) -> IntervalSet:
    """Have done tasks all over the dataset fail for good, through the store; return which."""
    store, row = one.workings.store, one.row
    failures_max = one.workings.dag(row.digest).dataset.steps[0].failures_max
    jobs = np.arange(FAILED) * FAILED_EVERY
    jobs = jobs[jobs < one.tasks]
    with store.transaction():
        changed = 0
        for key in range(int(jobs[-1] >> BLOCK_BITS) + 1):
            raw = store.tasks.blocks(row.no, [(0, key)])[0, key]
            states = states_of(raw).copy()
            its = jobs[jobs >> BLOCK_BITS == key] & (BLOCK_JOBS - 1)
            its = its[(states[its] & state_byte.DONE) != 0]
            states[its] = state_byte.TOUCHED | failures_max
            ready = int.from_bytes(raw[:4], "little")
            state = packed_block(states, ready, len(its))
            store.tasks.save_blocks(row.no, [BlockRow(0, key, state, ready, len(its))])
            changed += len(its)
        counts = [0] * len(Verdict)
        counts[state_byte.IS_DONE], counts[state_byte.FAILED] = -changed, changed
        store.tasks.add_to_steps(row.no, [StepRow(0, tuple(counts), 0, UsageSum())])
    return IntervalSet.of(jobs.tolist())


def _ms(act: Callable[[], object], times: int = TIMES) -> float:
    """Return the median of rounds of the CPU time of one call."""
    act()
    found = []
    for _ in range(ROUNDS):
        with spending() as spent:
            for _ in range(times):
                act()
        found.append(spent.cpu_s / times * 1000)
    return statistics.median(found)
