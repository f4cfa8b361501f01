"""The peers of the merge: a row per task in SQLite, by two ways, and REST."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlite_utils import Database

from benchmarks import central
from benchmarks.clock import Rounds, spending

TASKS = 10_000_000
RESULTS = 10_000
DONE = 3
_FILL = (
    "WITH RECURSIVE number(id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM number WHERE id < ?) "
    "INSERT INTO task (id, dataset, state, failures) SELECT id, 1, 1, 0 FROM number"
)
_UPSERT = (
    "INSERT INTO task VALUES (?, 1, ?, 0, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
    "state = excluded.state, wall_ms = excluded.wall_ms, cpu_ms = excluded.cpu_ms, "
    "memory_mib = excluded.memory_mib, output = excluded.output"
)

Result = tuple[int, int, int, int, int, bytes]


class RowPerTask:
    """A table of ten million tasks, indexed by state, that results are written into."""

    def __init__(self, path: Path) -> None:
        """Make the table."""
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE task (id INTEGER PRIMARY KEY, dataset INTEGER, state INTEGER,"
            " failures INTEGER, wall_ms INTEGER, cpu_ms INTEGER, memory_mib INTEGER, output BLOB)"
        )
        self._db.execute(_FILL, (TASKS - 1,))
        self._utils = Database(path)
        self._draw, self._next = random.Random(2), 0

    @classmethod
    @contextmanager
    def made(cls, path: Path) -> Iterator[Self]:
        """Make it, and close it in the end."""
        one = cls(path)
        try:
            yield one
        finally:
            one._utils.close()
            one._db.close()

    def measure(self, rounds: Rounds) -> None:
        """Write 10,000 results each way, of tasks in a row and of tasks all over the table."""
        ways: dict[str, Callable[[list[Result]], None]] = {
            "executemany": self._executemany,
            "sqlite-utils upsert_all": self._upsert_all,
        }
        for name, act in ways.items():
            for place, ids in (("contiguous", self._contiguous), ("scattered", self._scattered)):
                results = [_result(task) for task in ids()]
                with spending() as spent:
                    act(results)
                rounds.add(f"rows: {name}, {place}", spent.per(RESULTS))

    def _contiguous(self) -> range:
        self._next += RESULTS
        return range(self._next - RESULTS, self._next)

    def _scattered(self) -> list[int]:
        return self._draw.sample(range(TASKS), RESULTS)

    def _executemany(self, results: list[Result]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(_UPSERT, results)
        self._db.execute("COMMIT")

    def _upsert_all(self, results: list[Result]) -> None:
        names = ("id", "state", "wall_ms", "cpu_ms", "memory_mib", "output")
        rows: Iterator[dict[str, Any]] = (dict(zip(names, row, strict=True)) for row in results)
        self._utils.table("task").upsert_all(rows, pk="id")


def rest_us() -> float:
    """Return microseconds of a server's CPU for a claim and a report of one task over REST."""
    return central.rest_us()


def _result(task: int) -> Result:
    return (task, DONE, 3_600_000 + task % 1000, 3_500_000, 800 + task % 64, os.urandom(32))
