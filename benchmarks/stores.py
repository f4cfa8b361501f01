"""The two stores alone: scattered blocks in a database of 10^8 tasks, and many writers."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.table import Row, below
from bundle.digest import digest
from central.core.changes import UsageSum
from central.store.postgresql import PostgresqlStore
from central.store.postgresql.address import Address
from central.store.protocol import Store
from central.store.rows import BlockKey, BlockRow, SegmentRow, Span, StepRow
from central.store.sqlite import SqliteStore
from tests.testbed import postgresql

STEPS, BLOCKS = 3, 509  # a hundred million tasks
SCATTERED = 200
STATE_BYTES = 400  # of a block with some hundred tasks out of line
ROUNDS, TRANSACTIONS = 20, 100
MUST_US = 10.0


def measure() -> list[Row]:
    """Measure both engines, each on an empty database of its own, on this machine's disk."""
    with tempfile.TemporaryDirectory(prefix="pulk-stores-") as name:
        path = Path(name) / "pulk.sqlite"
        store = SqliteStore(path)
        rows = [*_blocks("SQLite", store), _writers("SQLite", 1, lambda: str(path))]
        store.close()
    with _server() as server:
        if server is None:
            return rows
        url = server.create("stores")
        other = PostgresqlStore(Address(url))
        rows += _blocks("PostgreSQL", other)
        rows += [_writers("PostgreSQL", count, lambda: url) for count in (1, 4)]
        other.close()
    return rows


def write(place: str, seed: int) -> None:
    """Commit what merges of scattered results commit; called in a process of its own."""
    store = _opened(place)
    draw = random.Random(seed)
    print("ready", flush=True)
    sys.stdin.readline()
    for at in range(TRANSACTIONS):
        keys = _keys(draw)
        with store.transaction():
            store.tasks.blocks(1, keys)
            spans = tuple(Span(step, block, 65_536 * block, 65_536 * block) for step, block in keys)
            name = digest("bench", b"%d %d" % (seed, at))
            store.segments.add(
                [
                    SegmentRow(
                        name, 1, 1, at, 1, b"pilotrun", "", 200, 0, 0, 9, 0, True, False, spans
                    )
                ]
            )
            store.tasks.save_blocks(1, _states(keys))
            counters = StepRow(0, (0, 0, -200, 200, 0, 0, 0), 0, UsageSum(200, 1, 1, 1, 1, 1))
            store.tasks.add_to_steps(1, [counters])
    store.close()


def _blocks(name: str, store: Store) -> list[Row]:
    with store.transaction():
        store.tasks.save_blocks(1, _states((s, b) for s in range(STEPS) for b in range(BLOCKS)))
    draw, read, saved = random.Random(1), [], []
    for _ in range(ROUNDS):
        keys = _keys(draw)
        rows = _states(keys)
        with store.transaction():
            read.append(_timed(lambda keys=keys: store.tasks.blocks(1, keys)))  # type: ignore[misc]
            saved.append(_timed(lambda rows=rows: store.tasks.save_blocks(1, rows)))  # type: ignore[misc]
    what = f"of {SCATTERED} scattered ones, 10^8 tasks"
    return [
        below("stores", f"{name}: a block read, {what}", statistics.median(read), "us", MUST_US),
        below("stores", f"{name}: a block saved, {what}", statistics.median(saved), "us", MUST_US),
    ]


def _writers(name: str, count: int, place: Callable[[], str]) -> Row:
    """Return merges a second of several processes together."""
    code = "import sys; from benchmarks.stores import write; write(sys.argv[1], int(sys.argv[2]))"
    arguments = [sys.executable, "-c", code, place()]
    running = [
        subprocess.Popen(
            [*arguments, str(count * 10 + one)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for one in range(count)
    ]
    for one in running:
        assert one.stdout is not None
        assert one.stdout.readline() == b"ready\n"
    began = time.perf_counter()
    for one in running:
        assert one.stdin is not None
        one.stdin.write(b"go\n")
        one.stdin.flush()
    for one in running:
        one.communicate(timeout=300)
        if one.returncode:
            raise RuntimeError(f"a writer ended with {one.returncode}")
    took = time.perf_counter() - began
    what = f"{name}: commits of {SCATTERED} scattered blocks, {count} processes"
    return Row("stores", what, count * TRANSACTIONS / took, "1/s")


def _opened(place: str) -> Store:
    if place.startswith("postgresql://"):
        return PostgresqlStore(Address(place))
    return SqliteStore(Path(place))


def _keys(draw: random.Random) -> list[BlockKey]:
    return [divmod(one, BLOCKS) for one in draw.sample(range(STEPS * BLOCKS), SCATTERED)]


def _states(keys: Iterator[BlockKey] | list[BlockKey]) -> list[BlockRow]:
    return [BlockRow(*key, os.urandom(STATE_BYTES), 1, 0) for key in keys]


def _timed(act: Callable[[], object]) -> float:
    """Return microseconds a block."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) / SCATTERED * 1e6


@contextmanager
def _server() -> Iterator[postgresql.Server | None]:
    try:
        server = postgresql.start()
    except postgresql.Unavailable as error:
        print(f"no PostgreSQL here: {error}", file=sys.stderr)
        yield None
        return
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(server.folder, ignore_errors=True)
