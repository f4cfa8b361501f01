"""Central at 1M, 10M and 100M touched tasks, on both stores, against rows per task.

One process does what a server's threads would: it leases, packs, signs, and absorbs result bundles
(open, verify, decode, merge, archive with fsync, commit). HTTP is in `central`, floods in `flood`.
CPU time is this process's own, with that of PostgreSQL's processes where they take part; making
results is the load generator's and not counted.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil

from benchmarks import merging_asked, merging_whole
from benchmarks.clock import Rounds, Spent, spending
from benchmarks.filled import Filled, Work
from benchmarks.merging_peers import RowPerTask, rest_us
from benchmarks.table import Row, below
from central.core.receipts import Outcome
from central.core.state_byte import BLOCK_JOBS
from tests.testbed import postgresql

BENCH = "merging"
SIZES = {"1M": 16, "10M": 153, "100M": 1526}  # blocks of 65,536 tasks
POSTGRESQL = "PostgreSQL 10M"
ROUNDS = 3
FRESH, LARGE, SHARDS, UGLY = "contiguous 10k", "contiguous 100k", "shards of 200", "ugly 10k"
MUST_US = {FRESH: (1.0, 0.2), LARGE: (1.0, 0.2), UGLY: (6.0, 2.0)}
POSTGRESQL_US = {FRESH: (2.0, 0.5), LARGE: (2.0, 0.5), UGLY: (8.0, 4.0)}
PLACES, EACH = 200, 49
PLANNED, PLANNED_TASKS = "lease, planned too, 2k", 2_000


def measure() -> list[Row]:
    """Return all rows; the database files lie on the disk of this machine's temporary folder."""
    _go_first()
    rounds = Rounds()
    with tempfile.TemporaryDirectory(prefix="pulk-merging-") as name, ExitStack() as stack:
        folder = Path(name)
        centrals = dict(_centrals(folder, stack))
        peer = stack.enter_context(RowPerTask.made(folder / "rows.sqlite"))
        for _ in range(ROUNDS):
            for size, one in centrals.items():
                spent = one.planned(PLANNED_TASKS).spent
                rounds.add(f"{PLANNED} {size}", spent.per(PLANNED_TASKS))
        for _ in range(ROUNDS):
            for size, one in centrals.items():
                _round(rounds, size, one)
            peer.measure(rounds)
            rounds.add("REST", Spent(rest_us(), 0.0))
        rows = [*_merges(rounds), *_flat(rounds), *_peers(rounds)]
        rows += merging_asked.measure(centrals["10M"])
    return [*rows, *merging_whole.measure()]


def _go_first() -> None:
    """Go before what else runs on this machine, where that is allowed."""
    try:
        os.nice(-5)
    except PermissionError:
        print("  not allowed to go first; others may slow this down", file=sys.stderr)


def _centrals(folder: Path, stack: ExitStack) -> Iterator[tuple[str, Filled]]:
    for size, blocks in SIZES.items():
        (folder / size).mkdir()
        yield size, _filled(folder / size, blocks, stack)
    try:
        server = postgresql.start()
    except postgresql.Unavailable as error:
        print(f"  no PostgreSQL here, its rows are left out: {error}", file=sys.stderr)
        return
    stack.callback(server.close)
    (folder / "postgresql").mkdir()
    processes = _Processes(server)
    url = server.create("merging")
    yield POSTGRESQL, _filled(folder / "postgresql", SIZES["10M"], stack, url, processes)


def _filled(
    folder: Path, blocks: int, stack: ExitStack, url: str = "", other: _Processes | None = None
) -> Filled:
    made = Filled(folder, blocks * BLOCK_JOBS, url, other or (lambda: 0.0))
    stack.callback(made.close)
    return made


def _round(rounds: Rounds, size: str, one: Filled) -> None:
    _merge(rounds, f"{FRESH} {size}", one, one.lease_fresh(10_000, 10_000))
    _merge(rounds, f"{SHARDS} {size}", one, one.lease_fresh(10_000, 200))
    _merge(rounds, f"{UGLY} {size}", one, one.lease_scattered(PLACES, EACH), ugly=True)
    _merge(rounds, f"{LARGE} {size}", one, one.lease_fresh(100_000, 10_000))


def _merge(rounds: Rounds, what: str, one: Filled, work: Work, *, ugly: bool = False) -> None:
    path, count = one.answer(work, ugly=ugly)
    leased = sum(lease.count() for lease in work.leases)
    with spending(one.other_cpu) as spent:
        found = one.authority.absorb(path)
    assert found.outcome is Outcome.MERGED, found
    path.unlink()
    rounds.add(f"lease {what}", work.spent.per(leased))
    rounds.add(f"merge {what}", spent.per(count))


def _merges(rounds: Rounds) -> Iterator[Row]:
    """Yield CPU and wall time of merges and leases, against their targets where they have one."""
    for name in rounds.names():
        if not name.startswith(("merge", "lease")):
            continue
        targets = POSTGRESQL_US if POSTGRESQL in name else MUST_US
        of = [pair for what, pair in targets.items() if name.startswith(f"merge {what}")]
        if of:
            yield below(BENCH, f"{name}: CPU", rounds.cpu(name), "us/task", *of[0])
        else:
            yield Row(BENCH, f"{name}: CPU", rounds.cpu(name), "us/task")
        yield Row(BENCH, f"{name}: wall", rounds.wall(name), "us/task")


def _flat(rounds: Rounds) -> Iterator[Row]:
    """Yield the CPU time at 100M tasks over that at 1M."""
    for what in (FRESH, LARGE, UGLY):
        for act in ("merge", "lease"):
            yield _over(rounds, f"{act} {what}")
    yield _over(rounds, PLANNED)


def _over(rounds: Rounds, what: str) -> Row:
    small, big = (rounds.cpu(f"{what} {size}") for size in ("1M", "100M"))
    must, stretch = (None, None) if UGLY in what else (1.1, 1.0)
    row = Row(BENCH, f"{what} at 100M", big, "us CPU", "at 1M", big / small, must, stretch)
    return replace(row, lower_is_better=True)


def _peers(rounds: Rounds) -> Iterator[Row]:
    """Yield what the peers took, and how many times that is what ours took at 10M tasks."""
    rest = rounds.cpu("REST")
    ours = rounds.cpu(f"lease {FRESH} 10M") + rounds.cpu(f"merge {FRESH} 10M")
    what = "REST claim and report for every task / our lease and merge, without HTTP"
    yield Row(BENCH, what, rest, "us CPU", f"{ours:.2f} us", rest / ours)
    for name in rounds.names():
        if not name.startswith("rows:"):
            continue
        kind = f"merge {UGLY if 'scattered' in name else FRESH} 10M"
        cpu, ours = rounds.cpu(name), rounds.cpu(kind)
        yield Row(BENCH, f"{name} / our {kind}", cpu, "us CPU", f"{ours:.2f} us", cpu / ours)
        yield Row(BENCH, f"{name}: wall", rounds.wall(name), "us/task")


class _Processes:
    """What a PostgreSQL server's processes used; those that ended, as they were last seen."""

    def __init__(self, server: postgresql.Server) -> None:
        pid = (server.folder / "data" / "postmaster.pid").read_text().split()[0]
        self._postmaster = psutil.Process(int(pid))
        self._seen: dict[int, float] = {}

    def __call__(self) -> float:
        """Return seconds, to the nanosecond where the kernel counts them."""
        for one in self._postmaster.children():
            try:
                raw = Path(f"/proc/{one.pid}/schedstat").read_text().split()[0]
            except OSError:
                continue
            self._seen[one.pid] = int(raw) / 1e9
        return sum(self._seen.values())
