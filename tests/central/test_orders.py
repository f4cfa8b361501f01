"""The same facts through real stores, in any order, split, repetition and tree: one state."""

from __future__ import annotations

import itertools
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bundle.dataset.spec import Dataset
from bundle.records import lease as leases
from central.core import state_hash
from central.core.dag import Dag
from central.core.state_hash import ENDED
from central.state import leased
from central.state.reading import Reading
from central.store.postgresql import PostgresqlStore
from central.store.postgresql.address import Address
from central.store.protocol import Store
from tests.central.board import Board, store_in
from tests.central.memory import Memory
from tests.central.test_bytes_and_rows import (
    JOBS,
    SHAPES,
    Event,
    board_of,
    compare,
    dag_of,
    edits,
    events,
    join,
    mirror,
    parts,
)
from tests.testbed.postgresql import Server

SEED = int(os.environ.get("PULK_SEED", time.time_ns() // 10**9 % 10**6))
SAMPLE = {"sqlite": 12, "postgresql": 4}  # histories of each shape in `make test`
CAMPAIGN = 250  # in the campaign; there are four shapes
TRUNCATED = """
DO $$ DECLARE one text; BEGIN
FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename NOT IN
('revision') LOOP EXECUTE format('DELETE FROM %I', one); END LOOP; END $$
"""

Opening = Callable[[], Any]


@contextmanager
def sqlite() -> Iterator[Store]:
    """An empty SQLite store."""
    with tempfile.TemporaryDirectory() as name:
        store = store_in(Path(name))
        try:
            yield store
        finally:
            store.close()


class Emptied:
    """A PostgreSQL database that is emptied for every history."""

    def __init__(self, url: str) -> None:
        self._url = url
        PostgresqlStore(Address(url)).close()

    @contextmanager
    def __call__(self) -> Iterator[Store]:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(TRUNCATED)
        store = PostgresqlStore(Address(self._url))
        try:
            yield store
        finally:
            store.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.programs)])
def opening(request: pytest.FixtureRequest) -> Opening:
    """What opens an empty store of each engine."""
    if request.param == "sqlite":
        return sqlite
    server: Server = request.getfixturevalue("postgresql")
    name = f"pulk_orders_{os.getpid()}"
    server.drop(name)
    url = server.create(name)
    request.addfinalizer(lambda: server.drop(name))
    return Emptied(url)


def state(board: Board) -> dict[str, object]:
    """All that is to be the same, whatever way the facts came.

    Which tasks have a trace is not: a child that was ready for a moment keeps one.
    """
    of = board.documents[board.row.digest]
    store, no = board.store, board.no
    reading = Reading(board._workings(), board.row)
    rows = {row.place: row for row in reading.every_row()}
    implied = Memory(of)
    implied.controls = list(store.datasets.controls(no))
    said = {}
    for step, whole in enumerate(of.whole):
        for job in range(1 if whole else JOBS):
            row = rows.get((step, job)) or implied.row((step, job))
            # of a task with a success the archive alone knows its failures
            said[step, job] = row._replace(failures=0 if row.outcome else row.failures, lease=0)
    steps = {one.step: (one.known, one.usage) for one in store.tasks.steps(no)}
    pins = sorted({(p.step, p.job, p.generation, p.outcome) for p in store.tasks.every_pin(no)})
    record = state_hash.dataset_record(
        (board.row.id, board.row.digest, of.dataset.jobs),
        board.controls(board.row),
        [one.digest for one in store.segments.after(no, 0, 10_000)],
        store.tasks.every_pin(no),
        {word: reading.spans(word) for word in ENDED},
    )
    used = {step: one for step, one in steps.items() if one[0] or one[1].attempts}
    return {"rows": said, "usage": used, "pins": pins, "record": record}


def merged(
    opening: Opening, document: Dataset, history: Sequence[Sequence[Event]]
) -> dict[str, object]:
    """Return the state that a history leaves, joined part by part; counters checked too."""
    with opening() as store:
        board = board_of(store, document)
        memory = Memory(board.dag, map(dag_of, edits(document)))
        live: set[int] = set()
        for part in history:
            join(board, part, live)
            mirror(memory, board, part, live)
        compare(board, memory)
        return state(board)


def facts(opening: Opening, document: Dataset, history: Sequence[Event]) -> list[Event]:
    """Return what a store has of the facts of a history, as another one may be told of them."""
    segments = {}
    with opening() as store:
        board = board_of(store, document)
        for kind, one in history:
            if kind == "segment":
                segments[board._found(*one).entry.digest] = one
        join(board, history, set())
        found: list[Event] = [("control", (one,)) for one in store.datasets.controls(board.no)]
        kept = store.segments.after(board.no, 0, 10_000)
        found += [("segment", segments[one.digest]) for one in kept]
        found += [("pin", one) for one in store.tasks.every_pin(board.no)]
        for number in {number for kind, number in history if kind == "lease"}:
            row = store.datasets.lease(bytes([number]) * 16)  # type: ignore[arg-type]
            assert row is not None and leases.decode(leased.said(row)).lease == row.id
            found.append(("lease", number))
            found += [("end", number)] * (row.state != "live")
    return found


def halves(history: Sequence[Event], draw: random.Random) -> tuple[list[Event], list[Event]]:
    """Split a history; a lease ends where it began."""
    sides: dict[object, int] = {}
    found: tuple[list[Event], list[Event]] = ([], [])
    for number, (kind, one) in enumerate(history):
        key = one if kind in ("lease", "end") else f"fact {number}"
        found[sides.setdefault(key, draw.randrange(2))].append((kind, one))
    return found


def shuffled(history: Sequence[Event], draw: random.Random) -> list[Event]:
    """Return a history in another order, parts of it again; leases end after they began."""
    found = [one for one in history for _ in range(draw.choice([1, 1, 2, 3]))]
    draw.shuffle(found)
    for number in {number for kind, number in found if kind == "end"}:
        began, ended = found.index(("lease", number)), found.index(("end", number))
        if ended < began:
            found[began], found[ended] = found[ended], found[began]
    return found


def ways(
    opening: Opening, document: Dataset, history: Sequence[Event], draw: random.Random
) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the states that a history leaves, merged in every way there is."""
    order = sorted(history, key=lambda one: one[0] != "lease")  # and ends after those
    yield "as one", merged(opening, document, [order])
    yield "one by one", merged(opening, document, [[one] for one in order])
    for name in ("shuffled", "shuffled again"):
        sizes = [draw.randrange(1, 5) for _ in range(4)]
        yield name, merged(opening, document, list(parts(shuffled(order, draw), sizes)))
    two = [facts(opening, document, one) for one in halves(order, draw)]
    draw.shuffle(two)
    yield "as a tree", merged(opening, document, [*two, two[0]])


def same_whatever_the_way(opening: Opening, shape: str, examples: int, first: int) -> int:
    """Check histories of one shape; return how many there were."""
    document = Dataset("board", JOBS, 1, SHAPES[shape])
    of: Dag = dag_of(document)
    count = itertools.count()

    @settings(
        deadline=None,
        max_examples=examples,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @seed(first)
    @given(history=events(of), number=st.integers(0, 2**32))
    def same(history: list[Event], number: int) -> None:
        next(count)
        found = ways(opening, document, history, random.Random(number))
        name, first_state = next(found)
        for other, its_state in found:
            for part, said in first_state.items():
                assert its_state[part] == said, f"{part} differ: {name}, {other}"

    same()
    return next(count)


@pytest.mark.sweeps
@pytest.mark.parametrize("shape", SHAPES)
def test_a_sample_of_histories_gives_one_state_whatever_the_way(
    opening: Opening, shape: str
) -> None:
    print(f"PULK_SEED={SEED}")
    examples = SAMPLE["sqlite" if opening is sqlite else "postgresql"]
    assert same_whatever_the_way(opening, shape, examples, SEED) >= examples


@pytest.mark.campaign
@pytest.mark.parametrize("shape", SHAPES)
def test_a_thousand_histories_give_one_state_whatever_the_way(
    opening: Opening, shape: str, record_property: Callable[[str, object], None]
) -> None:
    done = same_whatever_the_way(opening, shape, CAMPAIGN, 1)
    record_property("histories", done)
    assert done >= CAMPAIGN
