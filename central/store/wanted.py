"""Two temporary tables through which many keys are asked for at once, in one query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sqlite_utils import Database

_TABLES = (
    "CREATE TEMP TABLE wanted (step INTEGER NOT NULL, job INTEGER NOT NULL,"
    " PRIMARY KEY (step, job)) WITHOUT ROWID",
    "CREATE TEMP TABLE wanted_digest (digest BLOB PRIMARY KEY) WITHOUT ROWID",
)


def make_tables(database: Database) -> None:
    """Make both tables, once a connection."""
    for statement in _TABLES:
        database.execute(statement)


@contextmanager
def places(database: Database, wanted: Iterable[tuple[int, int]]) -> Iterator[None]:
    """Ask for (step, job) pairs while the context lasts."""
    with _filled(database, "wanted", "step, job", "?, ?", wanted):
        yield


@contextmanager
def digests(database: Database, wanted: Iterable[bytes]) -> Iterator[None]:
    """Ask for digests while the context lasts."""
    with _filled(database, "wanted_digest", "digest", "?", ((one,) for one in wanted)):
        yield


@contextmanager
def _filled(
    database: Database, table: str, columns: str, marks: str, rows: Iterable[tuple[object, ...]]
) -> Iterator[None]:
    # The names are constants of this module. Temporary tables are outside the file, but a write to
    # them joins an open transaction or makes one of its own.
    owner = not database.conn.in_transaction
    if owner:
        database.execute("BEGIN")
    try:
        database.execute(f"DELETE FROM {table}")  # noqa: S608
        database.conn.executemany(
            f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})",  # noqa: S608
            rows,
        )
        yield
    finally:
        if owner:
            database.rollback()
