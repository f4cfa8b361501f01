"""Submitting 10^8 tasks, what a million real results weigh, and a rebuild from their archive."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.clock import spending
from benchmarks.filled import Filled
from benchmarks.table import Row, below
from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Output, Step
from central.core.receipts import Outcome
from central.core.state_byte import BLOCK_JOBS
from central.home import Home
from central.rebuild import rebuild
from central.store.sqlite.library import sqlite3

BENCH = "merging"
SUBMITTED = 100_000_000
RESULTS = 1_000_000  # half of them in bundles of each of these sizes
BUNDLES = (10_000, 100_000)
SHARD = 10_000
SMALL = 10_000  # results of small shards
SMALL_SHARD = 200


def measure() -> Iterator[Row]:
    """Yield the rows; every result is merged for real into a central of its own."""
    with tempfile.TemporaryDirectory(prefix="pulk-whole-") as name:
        folder = Path(name)
        one = Filled(folder, BLOCK_JOBS)
        try:
            yield from _submission(one)
            before = _sizes(one.home)
            for bundle in BUNDLES:
                _merged(one, RESULTS // 2, bundle, SHARD)
            after = _sizes(one.home)
            weights = [(b - a) / RESULTS for a, b in zip(before, after, strict=True)]
            what = f"after {RESULTS:,} results"
            yield below(BENCH, f"database {what}", weights[0], "bytes/task", 3, 0.2)
            yield below(BENCH, f"archive {what}", weights[1], "bytes/result", 90, 45)
            yield from _rebuilt(one.home, folder)
            _merged(one, SMALL, SMALL, SMALL_SHARD)
            small = [(b - a) / SMALL for a, b in zip(after, _sizes(one.home), strict=True)]
            what = f"with shards of {SMALL_SHARD}"
            yield Row(BENCH, f"database {what}", small[0], "bytes/task")
            yield Row(BENCH, f"archive {what}", small[1], "bytes/result")
        finally:
            one.close()


def _submission(one: Filled) -> Iterator[Row]:
    document = Dataset(
        "large", SUBMITTED, 1, (Step("run", Command(("/bin/true",)), outputs=(Output("x"),)),)
    )
    before = sum(_sizes(one.home))
    with spending() as spent:
        made = one.authority.submit(spec.encode(document), idempotency_key="large", token_id=1)
    assert made.tasks == SUBMITTED
    bytes_more = sum(_sizes(one.home)) - before
    yield below(BENCH, "submitting 10^8 tasks, wall", spent.wall_s, "s", 1.0)
    yield below(BENCH, "submitting 10^8 tasks, database and archive", bytes_more / 1e6, "MB", 1.0)


def _merged(one: Filled, tasks: int, bundle: int, shard: int) -> None:
    for _ in range(tasks // bundle):
        path, _ = one.answer(one.lease_fresh(bundle, shard))
        found = one.authority.absorb(path)
        assert found.outcome is Outcome.MERGED, found
        path.unlink()


def _rebuilt(home: Home, folder: Path) -> Iterator[Row]:
    """Yield what 100M results would take at the rate at which these were rebuilt and summed up."""
    with spending() as spent:
        made = rebuild(Home(folder / "again"), home.archive, home.trust, shuffle=None, repeat=1)
    assert made["ok"], made["problems"]
    assert made["attempts"] == RESULTS, made["attempts"]
    for what, seconds in (("CPU", spent.cpu_s), ("wall", spent.wall_s)):
        minutes = seconds / RESULTS * SUBMITTED / 60
        text = f"rebuild of 100M, from the rate of {RESULTS:,} results: {what}"
        yield below(BENCH, text, minutes, "min", 5, 1)


def _sizes(home: Home) -> tuple[int, int]:
    """Return bytes of the database, its write-ahead log written into it, and of the archive.

    The log itself stays below 4 MiB, however large the database is.
    """
    with closing(sqlite3.connect(home.database)) as database_now:
        database_now.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database = sum(path.stat().st_size for path in home.root.glob(f"{home.database.name}*"))
    bundles = (path for path in home.archive.rglob("*") if path.is_file())
    return database, sum(path.stat().st_size for path in bundles)
