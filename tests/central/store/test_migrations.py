"""An old SQLite database becomes what a new one is, or stays what it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.ids import LeaseId
from central.errors import WrongSchema
from central.store.rows import TokenRow
from central.store.sqlite import SCHEMA, SqliteStore
from central.store.sqlite.library import sqlite3
from central.store.statements import migration, split
from tests.central.store import made, processes
from tests.central.store.conftest import Engine

SCHEMAS = Path(__file__).parent / "schemas"
KEPT = {
    "meta": ("name", b"value"),
    "token": (1, b"digest", "name"),
    "remembered": (1, "key", b"request", b"answer"),
    "tally": ("rejected", 5),
    "user": (b"key", "anna", 1, 0),
    "site": ("north", b"k", 1, b"report", b"", b"received", b"", 3, 4),
    "stream": (b"s", "north", b"receipt"),
}
PARKED = ("b1", "result", "north", "", b"s", 1, 0, b"", 0, 5, 6, 1, "parked", "c", "t", 0, "lease")
MERGED = ("b2", "result", "north", "", b"s", 2, 0, b"", 0, 5, 6, 1, "merged", "", "", 0, "")
ADD_BUNDLE = f"INSERT INTO bundle VALUES (NULL, {', '.join('?' * len(PARKED))})"  # noqa: S608


def old(path: Path, version: int) -> Path:
    """Make a database as a former version made it, with a row in every table that matters."""
    with sqlite3.connect(path) as database:
        for statement in split((SCHEMAS / f"{version}.sql").read_text()):
            database.execute(statement)
        for table, row in KEPT.items():
            if table != "user" or version > 1:
                marks = ", ".join("?" * len(row))
                database.execute(f"INSERT INTO {table} VALUES ({marks})", row)  # noqa: S608
        for row in (PARKED, MERGED):
            database.execute(ADD_BUNDLE, row)
        database.execute("INSERT INTO document VALUES (?, ?)", (b"d", b"raw"))
        database.execute("INSERT INTO task VALUES (1, 0, 0, 0, 3, x'', 0, 0)")
        database.execute(f"PRAGMA user_version={version}")
    database.close()
    return path


def tables(path: Path) -> set[str]:
    """Return all that makes up the schema, spaces and the file's own names aside."""
    with sqlite3.connect(path) as database:
        found = database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        found += database.execute("PRAGMA user_version").fetchall()
    database.close()
    return {" ".join(str(row[0]).split()) for row in found}


def count(path: Path, table: str) -> int:
    with sqlite3.connect(path) as database:
        found = database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
    database.close()
    return int(found)


@pytest.mark.parametrize("version", range(1, SCHEMA))
def test_an_old_database_becomes_what_a_new_one_is(tmp_path: Path, version: int) -> None:
    SqliteStore(tmp_path / "new.sqlite").close()
    SqliteStore(old(tmp_path / "old.sqlite", version)).close()
    assert tables(tmp_path / "old.sqlite") == tables(tmp_path / "new.sqlite")


def test_each_migration_leads_to_the_schema_of_the_next_version(tmp_path: Path) -> None:
    for version in range(1, SCHEMA - 1):
        path = old(tmp_path / f"{version}.sqlite", version)
        with sqlite3.connect(path) as database:
            for statement in split(migration("sqlite", version)):
                database.execute(statement)
            database.execute(f"PRAGMA user_version={version + 1}")
        database.close()
        assert tables(path) == tables(old(tmp_path / f"{version}-next.sqlite", version + 1))


def test_what_no_archive_holds_survives_and_the_rest_is_merged_again(tmp_path: Path) -> None:
    path = old(tmp_path / "old.sqlite", 2)
    store = SqliteStore(path)
    assert store.people.meta("name") == b"value"
    every = "admin control read submit"
    assert store.people.tokens() == [TokenRow(1, b"digest", "name", 1, every)]
    assert [(one.no, one.name, one.role) for one in store.people.persons()] == [
        (1, "admin", "admin"),
        (2, "anna", "user"),
    ]
    assert store.people.remembered(1, "key") == (b"request", b"answer")
    assert [user.name for user in store.people.users()] == ["anna"]
    assert store.bundles.tallies() == {"rejected": 5}
    assert [(one.name, one.report, one.news) for one in store.bundles.sites()] == [
        ("north", b"report", 4)
    ]
    assert [(row.id, row.missing) for row in store.bundles.parked()] == [("b1", "lease")]
    assert store.bundles.merged_ids() == set()
    assert store.datasets.document(b"d") is None
    assert list(store.tasks.every_row(1)) == []
    assert store.check() == []
    store.close()
    assert count(path, "stream") == 1


def test_leases_of_a_database_before_their_works_had_numbers_stay(tmp_path: Path) -> None:
    path = old(tmp_path / "old.sqlite", 3)
    works = [(f"{n}" * 64, "north", 9 - n, 6, b"c" * 32) for n in range(3)]
    rows = [
        (5 + n, b"%d" % n * 16, 1, b"d" * 32, works[n % 3][0], "north", 7, "live", b"raw", 8, n)
        for n in range(4)
    ]
    with sqlite3.connect(path) as database:
        database.executemany("INSERT INTO work VALUES (?, ?, ?, ?, ?)", works)
        marks = ", ".join("?" * 11)
        database.executemany(f"INSERT INTO lease VALUES ({marks})", rows)  # noqa: S608
    database.close()
    store = SqliteStore(path)
    assert [tuple(row) for row in store.datasets.live_on(1)] == [(*row, 0, b"") for row in rows]
    assert store.datasets.leases([LeaseId(b"2" * 16)])[0].no == 7
    with store.transaction():
        assert made.known_lease(store, 9).no == 9
    assert store.check() == []
    store.close()


def test_a_read_only_store_migrates_nothing(tmp_path: Path) -> None:
    path = old(tmp_path / "old.sqlite", 2)
    before = tables(path)
    with pytest.raises(WrongSchema):
        SqliteStore(path, read_only=True)
    assert tables(path) == before


def test_a_migration_that_fails_leaves_the_old_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = old(tmp_path / "old.sqlite", 2)
    before = tables(path)
    real = migration

    def broken(engine: str, version: int) -> str:
        return real(engine, version) + ";\nCREATE TABLE block (x);\n"

    monkeypatch.setattr("central.store.sqlite.store.migration", broken)
    with pytest.raises(sqlite3.OperationalError):
        SqliteStore(path)
    assert tables(path) == before
    monkeypatch.undo()
    SqliteStore(path).close()


KILLED = """
import os
from central.store.sqlite.connection import SqliteConnection
real, left = SqliteConnection.execute, [{after}]
def execute(self, text):
    words = ("ALTER", "CREATE", "DROP", "DELETE", "INSERT", "PRAGMA user_version=", "COMMIT")
    changes = text.startswith(words)
    if changes and "TEMP" not in text:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), 9)
    return real(self, text)
SqliteConnection.execute = execute
"""
# All from the second schema on, and its number, and the commit.
STATEMENTS = sum(len(split(migration("sqlite", one))) for one in range(2, SCHEMA)) + 2


@pytest.mark.programs
@pytest.mark.parametrize("after", [0, 1, 20, STATEMENTS - 3, STATEMENTS - 2, STATEMENTS - 1])
def test_a_migration_that_is_killed_leaves_the_old_database(tmp_path: Path, after: int) -> None:
    path = old(tmp_path / "pulk.sqlite", 2)
    before = tables(path)
    engine = Engine("sqlite", str(path))
    assert processes.run(engine, "", before=KILLED.format(after=after)).returncode == -9
    assert tables(path) == before
    SqliteStore(path).close()
    SqliteStore(tmp_path / "new.sqlite").close()
    assert tables(path) == tables(tmp_path / "new.sqlite")


@pytest.mark.programs
def test_a_migration_that_is_killed_after_its_end_leaves_the_new_database(tmp_path: Path) -> None:
    path = old(tmp_path / "pulk.sqlite", 2)
    engine = Engine("sqlite", str(path))
    code = "import os\nos.kill(os.getpid(), 9)\n"
    assert processes.run(engine, code, before=KILLED.format(after=STATEMENTS)).returncode == -9
    SqliteStore(tmp_path / "new.sqlite").close()
    assert tables(path) == tables(tmp_path / "new.sqlite")
