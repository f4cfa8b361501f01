"""Bundles as SQLite tables in memory, for reading only."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from bundle.limits import MIB
from bundle.look.errors import NoSqliteUtils, QueryRefused
from bundle.look.schema import SCHEMA
from bundle.look.tables import Named

BATCH_ROWS = 1000
STEPS_PER_LOOK = 20_000  # of SQLite's machine, between looks whether Ctrl-C was pressed
INTEGER_MAX = 2**63 - 1

_ALLOWED = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
    }
)
_TABLES_OF_FUNCTIONS = ("json_each('[]')", "json_tree('[]')", "pragma_table_info('bundles')")
_FORBIDDEN = frozenset(
    {"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit", "eval"}
)
VALUE_BYTES_MAX = 64 * MIB  # of one text or blob that a query makes
_PRAGMAS = frozenset({"table_info", "table_xinfo", "table_list", "index_list", "index_info"})


class Tables:
    """A database in memory that holds the rows of bundles. A context manager."""

    def __init__(self) -> None:
        """Make the empty tables. Raises NoSqliteUtils."""
        try:
            from sqlite_utils import Database
        except ImportError as error:
            raise NoSqliteUtils(reason=str(error)) from error
        # Python's own SQLite, whichever sqlite-utils would take: only it can be bounded below
        self._database = Database(sqlite3.connect(":memory:"), execute_plugins=False)
        for name, table in SCHEMA.items():
            self._database.table(name).create(table.columns)

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def fill(self, rows: Iterable[Named]) -> None:
        """Insert rows, in batches, so that only a batch is held beside the database."""
        waiting: dict[str, list[tuple[Any, ...]]] = {}
        for name, row in rows:
            batch = waiting.setdefault(name, [])
            batch.append(tuple(map(_storable, row)))
            if len(batch) >= BATCH_ROWS:
                self._insert(name, waiting.pop(name))
        for name, batch in waiting.items():
            self._insert(name, batch)

    def problems(self) -> list[tuple[str, str]]:
        """Return path and reason of what could not be read."""
        return list(self._database.execute("select path, what from problems"))

    def ask(self, sql: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """Run one statement that only reads; return its columns and its rows, row by row.

        From here on nothing can be written. Raises QueryRefused, also while rows are taken, and
        KeyboardInterrupt where Ctrl-C stopped it.
        """
        connection = self._database.conn
        for name in _TABLES_OF_FUNCTIONS:  # SQLite makes such a table once, with CREATE TABLE
            with contextlib.suppress(sqlite3.Error):  # an SQLite without JSON
                connection.execute(f"select * from {name} limit 0")  # noqa: S608
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
        connection.execute("PRAGMA query_only = ON")
        connection.set_authorizer(_authorize)
        connection.set_progress_handler(_look_up, STEPS_PER_LOOK)
        try:
            cursor = connection.execute(sql)
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            raise _refusal(error) from error
        columns = [one[0] for one in cursor.description or ()]
        if not columns:
            raise QueryRefused(reason="it is no query: it returns no columns")
        return columns, _rows(cursor)

    def _insert(self, name: str, batch: list[tuple[Any, ...]]) -> None:
        columns = list(SCHEMA[name].columns)
        self._database.table(name).insert_all([columns, *batch], batch_size=BATCH_ROWS)


def _rows(cursor: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    try:
        yield from cursor
    except (sqlite3.Error, ValueError) as error:
        raise _refusal(error) from error


def _refusal(error: Exception) -> BaseException:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
        return KeyboardInterrupt()
    return QueryRefused(reason=str(error))


def _look_up() -> int:
    """Give Python a chance to raise KeyboardInterrupt, which makes SQLite stop."""
    return 0


def _authorize(action: int, what: str | None, value: str | None, *_: object) -> int:
    is_allowed = action in _ALLOWED
    if action == sqlite3.SQLITE_PRAGMA:
        is_allowed = (what or "").lower() in _PRAGMAS
    if action == sqlite3.SQLITE_FUNCTION and (value or "").lower() in _FORBIDDEN:
        is_allowed = False
    return sqlite3.SQLITE_OK if is_allowed else sqlite3.SQLITE_DENY


def _storable(value: Any) -> Any:
    """Return what SQLite takes: beyond 2^63 - 1 the nearest float, of a file's name valid text."""
    if type(value) is int and value > INTEGER_MAX:
        return float(value)
    if type(value) is str and not value.isascii():
        return value.encode(errors="replace").decode()
    return value
