"""Blocks, counters, rows, attempts and pins, in both engines."""

from __future__ import annotations

import random

import pytest

from central.core.changes import UsageSum
from central.core.facts import Verdict
from central.store import blocks, tasks
from central.store.protocol import Store
from central.store.rows import BlockRow, FileRow
from tests.central.store import made

MANY = 10_000


def test_blocks_come_back_and_are_replaced(store: Store) -> None:
    rows = [BlockRow(2, 0, b"", 0, 0), BlockRow(0, 7, b"\0\xff" * 30_000, 3, 1)]
    with store.transaction():
        store.tasks.save_blocks(1, rows)
        store.tasks.save_blocks(2, rows[:1])
        store.tasks.save_blocks(1, [BlockRow(2, 0, b"new", 5, 0)])
        store.tasks.save_blocks(1, [])
    keys = {(2, 0), (0, 7), (9, 9)}
    assert store.tasks.blocks(1, keys) == {(2, 0): b"new", (0, 7): rows[1].state}
    assert store.tasks.blocks(2, keys) == {(2, 0): b""}
    assert store.tasks.blocks(1, []) == {}


def test_all_blocks_come_by_step_and_block(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "PAGE", 7)
    rows = [BlockRow(step, block, b"s", block, 0) for step in range(5) for block in range(6)]
    with store.transaction():
        store.tasks.save_blocks(1, random.Random(1).sample(rows, len(rows)))
        store.tasks.save_blocks(2, rows[:1])
        assert list(store.tasks.every_block(1)) == rows
    assert list(store.tasks.every_block(3)) == []


def test_blocks_with_ready_or_failed_tasks_are_found(store: Store) -> None:
    with store.transaction():
        for step in range(3):
            rows = [BlockRow(step, at, b"", at % 2, int(at == 3)) for at in range(6)]
            store.tasks.save_blocks(1, rows)
        store.tasks.save_blocks(1, [BlockRow(1, 1, b"", 0, 9)])
    ready = [(0, 1), (2, 1), (0, 3), (1, 3)]
    assert store.tasks.blocks_with(1, Verdict.READY, 4) == ready
    assert store.tasks.blocks_with(1, Verdict.READY, 3, after=(2, 1)) == [*ready[2:], (2, 3)]
    assert store.tasks.blocks_with(1, Verdict.READY, 9, after=(2, 5)) == []
    assert store.tasks.blocks_with(1, Verdict.FAILED, 9) == [(1, 1), (0, 3), (1, 3), (2, 3)]
    assert store.tasks.blocks_with(1, Verdict.FAILED, 9, after=(1, 3)) == [(2, 3)]
    assert store.tasks.blocks_with(2, Verdict.READY, 9) == []
    with pytest.raises(ValueError, match="done"):
        store.tasks.blocks_with(1, Verdict.DONE, 9)


def test_ten_thousand_blocks_are_asked_for_at_once(store: Store) -> None:
    rows = [BlockRow(at % 7, at, b"%d" % at, 0, 0) for at in range(MANY)]
    with store.transaction():
        store.tasks.save_blocks(1, rows)
        keys = [(row.step, row.block) for row in rows[::2]] + [(8, at) for at in range(MANY)]
        found = store.tasks.blocks(1, keys + keys[:50])
    assert found == {(row.step, row.block): row.state for row in rows[::2]}


def test_counters_are_added_to_and_replaced(store: Store) -> None:
    less = made.step(
        1, verdicts=(0, -1, -2, 3, 0, 0, 0), known=-5, usage=UsageSum(-1, 0, 1, 2, 3, 4)
    )
    with store.transaction():
        store.tasks.add_to_steps(1, [made.step(1), made.step(0)])
        store.tasks.add_to_steps(2, [made.step(1)])
        store.tasks.add_to_steps(1, [less])
    sums = made.step(1, verdicts=(0, 0, 0, 6, 4, 5, 6), known=16, usage=UsageSum(0, 2, 4, 6, 8, 6))
    assert store.tasks.steps(1) == [made.step(0), sums]
    with store.transaction():
        store.tasks.set_steps(1, [made.step(1, usage=UsageSum()), made.step(2, usage=UsageSum())])
    replaced = [
        made.step(0),
        made.step(1, usage=sums.usage),
        made.step(2, usage=UsageSum()),
    ]
    assert store.tasks.steps(1) == replaced
    assert store.tasks.steps_of([2, 1, 9]) == {1: replaced, 2: [made.step(1)]}
    assert store.tasks.steps(9) == []


def test_rows_come_back_are_replaced_and_dropped(store: Store) -> None:
    rows = [made.task(step, job) for step in (1, 0) for job in (2**32 - 1, 0, 5)]
    with store.transaction():
        store.tasks.save_rows(1, rows)
        store.tasks.save_rows(2, rows[:1])
        store.tasks.save_rows(1, [made.task(0, 5, verdict=Verdict.FAILED, outcome=b"", lease=0)])
        store.tasks.drop_rows(1, [(1, 0), (7, 7)])
        store.tasks.drop_rows(1, [])
    (failed,) = store.tasks.rows(1, [(0, 5), (1, 0)])
    assert (failed.verdict, failed.outcome, failed.lease) == (Verdict.FAILED, b"", 0)
    places = [row.place for row in store.tasks.every_row(1)]
    assert places == [(0, 0), (0, 5), (0, 2**32 - 1), (1, 5), (1, 2**32 - 1)]
    assert store.tasks.rows(2, [rows[0].place]) == rows[:1]


def test_ten_thousand_rows_are_saved_asked_for_and_dropped_at_once(store: Store) -> None:
    rows = [made.task(0, job) for job in range(MANY)]
    with store.transaction():
        store.tasks.save_rows(1, rows)
        found = store.tasks.rows(1, {row.place for row in rows})
        assert sorted(found) == rows
        assert list(store.tasks.every_row(1)) == rows
        store.tasks.drop_rows(1, [row.place for row in rows[1:]])
    assert list(store.tasks.every_row(1)) == rows[:1]


def test_attempts_are_kept_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "PAGE", 3)
    with store.transaction():
        lease = made.known_lease(store)
        facts = [made.attempt(at % 2, 0, at, lease) for at in range(10)]
        store.tasks.add_attempts(1, [(one, 5) for one in facts])
        store.tasks.add_attempts(1, [(one, 6) for one in facts[:3]])
        store.tasks.add_attempts(2, [(facts[0], 5)])
        store.tasks.add_attempts(1, [])
    by_content = sorted(facts, key=lambda one: (one.step, one.job, one.content))
    assert list(store.tasks.every_attempt(1)) == by_content
    assert set(store.tasks.attempts(1, [(1, 0), (4, 4)])) == set(facts[1::2])
    assert store.tasks.attempts(2, [(0, 0)]) == facts[:1]


def test_an_attempt_of_an_unknown_lease_is_a_mistake(store: Store) -> None:
    with pytest.raises(LookupError), store.transaction():
        store.tasks.add_attempts(1, [(made.attempt(0, 0, 1, made.lease(1, 1)), 1)])


def test_pins_are_kept_once(store: Store) -> None:
    pins = [made.pin(0, 5), made.pin(0, 5, commit=2), made.pin(1, 2**32 - 1)]
    with store.transaction():
        store.tasks.add_pins(1, reversed(pins))
        store.tasks.add_pins(1, pins)
        store.tasks.add_pins(2, pins[:1])
    assert list(store.tasks.every_pin(1)) == pins
    found = store.tasks.pins(1, [(0, 5), (0, 6)])
    assert sorted(found, key=lambda one: one.commit) == pins[:2]


def test_outcomes_and_files_are_kept_once(store: Store) -> None:
    outputs = ((made.sha("file", 1), 2**40), (made.sha("file", 2), 0))
    with store.transaction():
        store.tasks.add_outcomes({b"a": outputs, b"b": ()})
        store.tasks.add_outcomes({b"a": ()})
        store.tasks.add_files([FileRow(b"f", 1, 2, 3)])
        store.tasks.add_files(iter([FileRow(b"f", 9, 9, 9), FileRow(b"g", 4, 5, 2**40)]))
        store.tasks.add_contradictions(1, 5, [(0, 1, "attempt"), (0, 1, "attempt")])
    assert store.tasks.outcomes([b"a", b"b", b"c"]) == {b"a": outputs, b"b": ()}
    assert store.tasks.files([b"f", b"g", b"h"]) == {
        b"f": FileRow(b"f", 1, 2, 3),
        b"g": FileRow(b"g", 4, 5, 2**40),
    }
