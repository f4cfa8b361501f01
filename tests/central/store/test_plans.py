"""How each engine finds what the eight named queries of `make bench` ask, and the failed tasks.

Nothing that grows with tasks, attempts or bundles is gone through from end to end. SQLite plans by
its indexes alone; PostgreSQL is asked with sequential scans switched off, so that the few rows here
do not decide: it then takes one only where no index could serve.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from benchmarks.queries import NDJSON, queries
from bundle.fates import Fate
from bundle.ids import DatasetId
from central.authority import Authority
from central.config import Config, StoreSection
from central.http.app import make_app
from central.http.budgets import Budgets
from central.store.opening import open_store
from central.store.postgresql.connection import PostgresqlConnection
from central.store.protocol import Store
from central.store.sqlite.connection import SqliteConnection
from tests.central.conftest import Central, chain
from tests.central.store.conftest import Engine

# One row for each dataset, person or site, and what a page of datasets is sorted from.
SMALL = frozenset(
    {
        "dataset",
        "access",
        "person",
        "user",
        "submitter",
        "site",
        "meta",
        "revision",
        "sqlite_master",
    }
)
_ON = re.compile(r" on (\w+)")
_NAMED = re.compile(r"\b(?:FROM|JOIN)\s+(\w+)(?:\s+(?:AS\s+)?(\w+))?", re.IGNORECASE)


class Watched:
    """Every statement that the readers of one central run, each with its plan."""

    def __init__(self) -> None:
        self.plans: dict[str, list[str]] = {}

    def open(self, *given: Any, **named: Any) -> Store:
        """Open a store whose statements are explained as they are run."""
        store = open_store(*given, **named)
        connection: Any = store._connection  # type: ignore[attr-defined]
        if isinstance(connection, SqliteConnection):
            self._watch_sqlite(connection)
        else:
            assert isinstance(connection, PostgresqlConnection)
            self._watch_postgresql(connection)
        return store

    def _watch_sqlite(self, connection: Any) -> None:
        raw = connection._raw

        def traced(text: str) -> None:
            if text.lstrip().upper().startswith(("SELECT", "WITH")) and text not in self.plans:
                self.plans[text] = []

        raw.set_trace_callback(traced)
        self._sqlite = raw

    def explained(self) -> dict[str, list[str]]:
        """Return the plans; SQLite is asked for them when all has been run."""
        for text, plan in self.plans.items():
            if not plan:
                self._sqlite.set_trace_callback(None)
                found = self._sqlite.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()
                plan.extend([str(row[3]) for row in found] or ["a constant"])
        return self.plans

    def _watch_postgresql(self, connection: Any) -> None:
        read = connection._read

        def explaining(text: str, values: Any) -> Any:
            if text not in self.plans:
                raw = connection._live()
                raw.execute("SET LOCAL enable_seqscan = off")
                found = raw.execute(f"EXPLAIN {text}", values).fetchall()
                self.plans[text] = [str(row[0]) for row in found]
            return read(text, values)

        connection._read = explaining


def scanned(text: str, plan: list[str]) -> set[str]:
    """Return the tables that a plan goes through from end to end, along an index or not."""
    names = {alias.lower(): table for table, alias in _NAMED.findall(text) if alias}
    found = set()
    for line, after in zip(plan, [*plan[1:], ""], strict=True):
        if " on " in line and "Scan" in line:  # PostgreSQL
            is_bounded = "Cond:" in after or "Bitmap Index" in line or "Function" in line
            found |= set() if is_bounded else set(_ON.findall(line))
        elif line.startswith("SCAN "):  # SQLite: whatever it has a bound for, it calls SEARCH
            found.add(line.split()[1])
    found = {names.get(one.lower(), one) for one in found}
    return {one for one in found if not one.startswith(("wanted", "(", "CONSTANT", "json"))}


@pytest.fixture
def central(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Central]:
    made = Central(tmp_path)
    if engine.name == "postgresql":
        made.authority.close()
        monkeypatch.setenv("PULK_STORE_URL", engine.place)
        made.config = Config(store=StoreSection(url=engine.place))
        made.authority = Authority.open(made.home, made.config, clock_us=made.clock)
    yield made
    made.authority.close()


def test_no_query_goes_through_what_grows(
    central: Central, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=120))
    site.work_all(
        central.authority,
        fate=lambda place, _: Fate.SUCCESS if place[1] % 4 else Fate.PAYLOAD_ERROR,
    )
    other = central.submit(chain(jobs=3))
    watched = Watched()
    monkeypatch.setattr("central.reading.open_store", watched.open)
    asked = queries(dataset, dataset)
    stream = f"/v1/datasets/{dataset}/tasks?verdict=failed"
    token = central.home.token.read_text().strip()
    answers = asyncio.run(_ask(central, token, [*asked.values(), stream]))
    assert all(status == 200 for status, _ in answers), answers
    assert answers[-1][1].count(b"\n") == central.counts(dataset)[0]["failed"] > 0
    assert len(asked) == 8 and other != dataset
    plans = watched.explained()
    bad = {text: plan for text, plan in plans.items() if not scanned(text, plan) <= SMALL}
    assert not bad, bad
    read = " ".join(plans)
    assert all(re.search(rf"\b{one}\b", read) for one in ("dataset", "step", "block", "segment"))


def test_a_scan_would_be_seen(central: Central) -> None:
    """The check itself: a statement that no index serves is told from one that an index does."""
    watched = Watched()
    store = watched.open(central.config, central.home, read_only=True)
    connection: Any = store._connection  # type: ignore[attr-defined]
    try:
        with store.snapshot():
            if isinstance(connection, SqliteConnection):
                connection._raw.execute("SELECT count(*) FROM task AS t").fetchall()
            else:
                connection._read("SELECT count(*) FROM task AS t", ())
            store.datasets.dataset(DatasetId("a" * 26))
        found = [scanned(text, plan) for text, plan in watched.explained().items()]
        assert {"task"} in found and set() in found, watched.plans
    finally:
        store.close()


async def _ask(central: Central, token: str, paths: list[str]) -> list[tuple[int, bytes]]:
    app = make_app(central.authority, central.home, central.config, Budgets(8, 4))
    found = []
    async with TestClient(TestServer(app)) as client:
        for path in paths:
            headers = {"Authorization": f"Bearer {token}"}
            headers |= (
                {"Accept": NDJSON} if "verdict=failed" in path and "limit" not in path else {}
            )
            async with client.get(path, headers=headers) as answer:
                found.append((answer.status, await answer.read()))
    return found
