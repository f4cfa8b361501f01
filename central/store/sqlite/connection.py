"""A connection to SQLite through sqlite-utils, and its temporary tables for many keys at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from central.errors import ConstraintBroken, DatabaseBusy, DatabaseTrouble
from central.store.connection import Found, Values
from central.store.sqlite.library import sqlite3
from central.store.statements import Statement

BUSY_TIMEOUT_S = 30.0
BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
TROUBLE = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
)
_PRIMARY = 0xFF  # the low byte of an extended result code
_REOPENED = 1 << 32  # SQLite counts others' commits from 1 again; the version never falls

_TABLES = {
    "pairs": "wanted_pair (a INTEGER NOT NULL, b INTEGER NOT NULL, PRIMARY KEY (a, b))",
    "numbers": "wanted_number (n INTEGER PRIMARY KEY)",
    "digests": "wanted_digest (digest BLOB PRIMARY KEY)",
}


class SqliteConnection:
    """See `connection.Connection`. Callable from any thread, one at a time."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        """Open a database file that is there. Raises DatabaseBusy, DatabaseTrouble."""
        self.where, self._read_only = str(path), read_only
        self._texts: dict[str, str] = {}
        self.commits = 0
        self._looks = False  # a snapshot is open
        self._open()

    def one(self, statement: Statement, values: Values = ()) -> Found | None:
        """See `connection.Connection`."""
        with self.translated():
            found: Found | None = self._raw.execute(statement.text, values).fetchone()
        return found

    def value(self, statement: Statement, values: Values = ()) -> Any:
        """See `connection.Connection`."""
        found = self.one(statement, values)
        assert found is not None, statement.name  # noqa: S101  the statement always finds one
        return found[0]

    def all(self, statement: Statement, values: Values = ()) -> list[Found]:
        """See `connection.Connection`."""
        with self.translated():
            return self._raw.execute(statement.text, values).fetchall()

    def ask(self, statement: Statement, keys: Collection[Any], values: Values = ()) -> list[Found]:
        """See `connection.Connection`."""
        if not keys:
            return []
        with self.translated(), self._wanted(statement.kind, keys) as table:
            return self._raw.execute(self._text(statement, f"{table} AS w"), values).fetchall()

    def run(self, statement: Statement, values: Values = ()) -> None:
        """See `connection.Connection`."""
        self._check_writing()
        with self.translated():
            self._raw.execute(statement.text, values)

    def change(self, statement: Statement, keys: Collection[Any], values: Values = ()) -> None:
        """See `connection.Connection`."""
        self._check_writing()
        if keys:
            with self.translated(), self._wanted(statement.kind, keys) as table:
                self._raw.execute(self._text(statement, f"{table} AS w"), values)

    def insert(self, statement: Statement, values: Values) -> int:
        """See `connection.Connection`."""
        self._check_writing()
        with self.translated():
            return int(self._raw.execute(statement.text, values).fetchone()[0])

    def many(self, statement: Statement, rows: Iterable[Values]) -> None:
        """See `connection.Connection`."""
        self._check_writing()
        marks = ", ".join("?" for _ in statement.types)
        with self.translated():
            self._raw.executemany(self._text(statement, f"VALUES ({marks})"), rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin at once, commit durably at the end; an exception undoes all of it."""
        if self._raw.in_transaction:
            raise RuntimeError("a transaction is open already")
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._undo()
            raise
        try:
            self.execute("COMMIT")
        except BaseException:
            self._undo()
            raise
        self.commits += 1

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one moment as long as it lasts; in a rollback journal no commit ends meanwhile."""
        if self._raw.in_transaction:
            raise RuntimeError("a transaction is open already")
        self.execute("BEGIN")
        self._looks = True
        try:
            self.execute("SELECT count(*) FROM sqlite_master")  # the moment begins with a read
            yield
        finally:
            self._looks = False
            self._undo()

    def execute(self, text: str) -> list[Found]:
        """Run a statement that belongs to this engine alone."""
        with self.translated():
            return self._raw.execute(text).fetchall()

    def close(self) -> None:
        """Close it."""
        self.database.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what SQLite says of locks and disks into central's own words."""
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise ConstraintBroken(where=self.where, reason=str(error)) from error
        except sqlite3.OperationalError as error:
            code = error.sqlite_errorcode & _PRIMARY
            if code in BUSY:
                raise DatabaseBusy(where=self.where, reason=str(error)) from error
            if code in TROUBLE:
                raise DatabaseTrouble(where=self.where, reason=str(error)) from error
            raise

    def _open(self) -> None:
        mode = "ro" if self._read_only else "rw"
        with self.translated():
            raw = sqlite3.connect(
                f"file:{self.where}?mode={mode}",
                uri=True,
                check_same_thread=False,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
            )
        self._raw, self.database = raw, Database(raw)
        for pragma in ("synchronous=FULL", "temp_store=MEMORY", "cache_size=-65536"):
            self.execute(f"PRAGMA {pragma}")
        for table in _TABLES.values():
            self.execute(f"CREATE TEMP TABLE {table} WITHOUT ROWID")

    def _undo(self) -> None:
        """Roll back; a connection that can't is given up for a new one, which recovers the file."""
        try:
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")
        except sqlite3.Error:
            self.database.close()
            self._open()
            self.commits += _REOPENED

    def _check_writing(self) -> None:
        if self._looks or not self._raw.in_transaction:
            raise RuntimeError("a store is changed in a transaction only")

    def _text(self, statement: Statement, table: str) -> str:
        found = self._texts.get(statement.text)
        if found is None:
            # CROSS: few keys look up a large table, never the other way round
            found = re.sub(r"AS w\s+JOIN", "AS w CROSS JOIN", statement.filled(table))
            self._texts[statement.text] = found
        return found

    @contextmanager
    def _wanted(self, kind: str, keys: Collection[Any]) -> Iterator[str]:
        # The names are constants of this module. Temporary tables are outside the file, but a write
        # to them joins an open transaction or needs one of its own.
        table = _TABLES[kind].partition(" ")[0]
        marks, rows = ("?, ?", keys) if kind == "pairs" else ("?", [(one,) for one in keys])
        raw = self._raw
        owner = not raw.in_transaction
        if owner:
            raw.execute("BEGIN")
        try:
            raw.execute(f"DELETE FROM {table}")  # noqa: S608
            raw.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)  # noqa: S608
            yield table
        finally:
            if owner:
                raw.execute("ROLLBACK")
