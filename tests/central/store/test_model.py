"""Any sequence of writes, commits and failures leaves what a plain dictionary holds."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle.errors import PulkError
from central.core.changes import UsageSum
from central.core.facts import AttemptFact, Verdict
from central.store.protocol import Store
from central.store.rows import BlockKey, BlockRow, LeaseRow, SegmentRow, Span, StepRow
from tests.central.store import made

STEPS, BLOCKS = st.integers(0, 2), st.integers(0, 3)
COUNTS = st.integers(0, 2)
KEYS = st.tuples(STEPS, BLOCKS)
JOBS = st.sampled_from([0, 1, 65_535, 65_536, 2**32 - 1])
PLACES = st.tuples(STEPS, JOBS)


@dataclass
class Model:
    """What a dataset holds, as plain values."""

    blocks: dict[BlockKey, tuple[bytes, int, int]] = field(default_factory=dict)
    counters: dict[int, list[int]] = field(default_factory=dict)
    rows: dict[tuple[int, int], tuple[Any, ...]] = field(default_factory=dict)
    attempts: dict[tuple[int, int, bytes], AttemptFact] = field(default_factory=dict)
    pins: set[tuple[int, int, int]] = field(default_factory=set)
    segments: dict[bytes, SegmentRow] = field(default_factory=dict)


def block_rows() -> st.SearchStrategy[Any]:
    row = st.tuples(st.binary(max_size=40), COUNTS, COUNTS)
    return st.dictionaries(KEYS, row, max_size=8)


def step_rows() -> st.SearchStrategy[Any]:
    return st.dictionaries(STEPS, st.lists(st.integers(-5, 5), min_size=14, max_size=14))


def task_rows() -> st.SearchStrategy[Any]:
    word, outcome = st.sampled_from(tuple(Verdict)), st.binary(max_size=4)
    row = st.tuples(st.integers(0, 3), word, outcome, COUNTS, COUNTS)
    return st.dictionaries(PLACES, row, max_size=8)


ACTS = st.one_of(
    st.tuples(st.just("blocks"), block_rows()),
    st.tuples(st.just("add"), step_rows()),
    st.tuples(st.just("set"), step_rows()),
    st.tuples(st.just("rows"), task_rows()),
    st.tuples(st.just("drop"), st.sets(PLACES)),
    st.tuples(st.just("attempts"), st.sets(st.tuples(PLACES, COUNTS), max_size=6)),
    st.tuples(st.just("pins"), st.sets(st.tuples(STEPS, JOBS, COUNTS), max_size=6)),
    st.tuples(st.just("segments"), st.sets(st.tuples(st.integers(0, 9), KEYS), max_size=4)),
)
TRANSACTIONS = st.lists(st.tuples(st.lists(ACTS, max_size=6), st.booleans()), max_size=6)


def play(store: Store, dataset: int, lease: LeaseRow, model: Model, act: tuple[str, Any]) -> None:
    """Do one thing to both."""
    tasks = store.tasks
    word, what = act
    match word:
        case "blocks":
            tasks.save_blocks(dataset, [BlockRow(*key, *row) for key, row in what.items()])
            model.blocks |= what
        case "add":
            tasks.add_to_steps(dataset, [_step(step, row) for step, row in what.items()])
            for step, row in what.items():
                old = model.counters.get(step, [0] * 13 + row[-1:])
                sums = [a + b for a, b in zip(old, row, strict=True)]
                model.counters[step] = [*sums[:-1], max(old[-1], row[-1])]
        case "set":
            tasks.set_steps(dataset, [_step(step, row) for step, row in what.items()])
            for step, row in what.items():
                model.counters[step] = [*row[:8], *model.counters.get(step, [0] * 14)[8:]]
        case "rows":
            rows = {key: (*key, *row) for key, row in what.items()}
            tasks.save_rows(dataset, [made.task(0, 0)._make(row) for row in rows.values()])
            model.rows |= rows
        case "drop":
            tasks.drop_rows(dataset, what)
            for place in what:
                model.rows.pop(place, None)
        case "attempts":
            facts = [made.attempt(*place, number, lease) for place, number in what]
            tasks.add_attempts(dataset, [(one, 1) for one in facts])
            for one in facts:
                model.attempts.setdefault((one.step, one.job, one.content), one)
        case "pins":
            tasks.add_pins(dataset, [made.pin(*one) for one in what])
            model.pins |= what
        case "segments":
            rows = {}
            for number, (step, block) in what:
                span = Span(step, block, 65_536 * block, 65_536 * block + number)
                row = made.segment(dataset * 100 + number, dataset, span)
                rows[row.digest] = row
            fresh = rows.keys() - store.segments.known(rows.keys())
            assert fresh == rows.keys() - model.segments.keys()
            numbers = store.segments.add([rows[one] for one in fresh])
            for digest, no in zip(fresh, numbers, strict=True):
                model.segments[digest] = rows[digest]._replace(no=no)


def compare(store: Store, dataset: int, model: Model) -> None:
    """All that can be asked, in one piece and by keys."""
    tasks = store.tasks
    blocks = [BlockRow(*key, *row) for key, row in sorted(model.blocks.items())]
    assert list(tasks.every_block(dataset)) == blocks
    keys = [(step, block) for step in range(4) for block in range(5)]
    assert tasks.blocks(dataset, keys) == {row[:2]: row.state for row in blocks}
    for word, at in ((Verdict.READY, 3), (Verdict.FAILED, 4)):
        found = sorted((row for row in blocks if row[at]), key=lambda row: (row.block, row.step))
        assert tasks.blocks_with(dataset, word, 3) == [row[:2] for row in found[:3]]
    counters = sorted(model.counters.items())
    assert tasks.steps(dataset) == [_step(step, row) for step, row in counters]
    rows = [model.rows[key] for key in sorted(model.rows)]
    assert [tuple(row) for row in tasks.every_row(dataset)] == rows
    assert {tuple(row) for row in tasks.rows(dataset, model.rows)} == set(rows)
    facts = [model.attempts[key] for key in sorted(model.attempts)]
    assert list(tasks.every_attempt(dataset)) == facts
    assert set(tasks.attempts(dataset, {one.place for one in facts})) == set(facts)
    assert list(tasks.every_pin(dataset)) == [made.pin(*one) for one in sorted(model.pins)]
    segments = sorted(model.segments.values(), key=lambda row: row.no)
    assert store.segments.after(dataset, 0, 100) == segments
    touching = [(row._replace(spans=()), row.spans[0]) for row in segments]
    assert store.segments.touching(dataset, keys) == touching


@contextmanager
def transaction(store: Store, *, fails: bool) -> Iterator[None]:
    try:
        with store.transaction():
            yield
            if fails:
                raise PulkError
    except PulkError:
        if not fails:
            raise


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(transactions=TRANSACTIONS)
def test_a_store_holds_what_a_dictionary_holds(
    store: Store, request: pytest.FixtureRequest, transactions: Any
) -> None:
    counter = cast(list[int], request.node.__dict__.setdefault("counter", []))
    dataset = len(counter) + 1
    counter.append(dataset)
    model = Model()
    with store.transaction():
        lease = made.known_lease(store, dataset, dataset)
    for acts, fails in transactions:
        tried = copy.deepcopy(model)
        with transaction(store, fails=fails):
            for act in acts:
                play(store, dataset, lease, tried, act)
            compare(store, dataset, tried)
        model = model if fails else tried
        compare(store, dataset, model)


def _step(step: int, row: list[int]) -> StepRow:
    return StepRow(step, tuple(row[:7]), row[7], UsageSum(*row[8:]))
