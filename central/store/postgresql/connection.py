"""A connection to PostgreSQL through psycopg: many keys and many rows as arrays, one writer.

A write transaction first takes one advisory lock of the database, so that writers of several
processes come one after the other and each sees what the last one committed. Each commit raises
`revision.version` and leaves its writer's mark there, so that a commit whose answer was lost can be
looked up once the server is there again.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from psycopg import errors

from central.errors import ConstraintBroken, DatabaseBusy, DatabaseTrouble
from central.store.connection import Found, Values
from central.store.postgresql.address import Address
from central.store.postgresql.settings import CONNECT, READ_ONLY, SESSION, check_server
from central.store.statements import KEYS, Statement

LOCK = 0x70756C6B  # "pulk": the number of the writers' advisory lock
ROWS_AT_ONCE = 2000  # 128 MiB of the largest blocks; arrays are as fast as COPY, measured
_BEGIN = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock({LOCK})"
_LOOK = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_BUSY = (errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable)
_TABLES = {
    "pairs": "unnest(%b::bigint[], %b::bigint[]) AS w (a, b)",
    "numbers": "unnest(%b::bigint[]) AS w (n)",
    "digests": "unnest(%b::bytea[]) AS w (digest)",
}


class PostgresqlConnection:
    """See `connection.Connection`. Callable from any thread, one at a time."""

    def __init__(self, address: Address, *, read_only: bool) -> None:
        """Connect. Raises DatabaseTrouble, NotDurable."""
        self.where, self._address, self._read_only = address.shown, address, read_only
        self._writer = os.urandom(16)
        self._texts: dict[str, str] = {}
        self._raw: psycopg.Connection | None = None
        self._unsure = False  # a commit was under way when the connection broke
        self._inside = self._looks = False  # in a transaction; in a snapshot
        self._version = 0
        self._live()

    def one(self, statement: Statement, values: Values = ()) -> Found | None:
        """See `connection.Connection`."""
        found = self._read(self._text(statement), values)
        return found[0] if found else None

    def value(self, statement: Statement, values: Values = ()) -> Any:
        """See `connection.Connection`."""
        return self._read(self._text(statement), values)[0][0]

    def all(self, statement: Statement, values: Values = ()) -> list[Found]:
        """See `connection.Connection`."""
        return self._read(self._text(statement), values)

    def ask(self, statement: Statement, keys: Collection[Any], values: Values = ()) -> list[Found]:
        """See `connection.Connection`."""
        if not keys:
            return []
        return self._read(self._text(statement), _with_keys(statement, keys, values))

    def run(self, statement: Statement, values: Values = ()) -> None:
        """See `connection.Connection`."""
        self._write(self._text(statement), values)

    def change(self, statement: Statement, keys: Collection[Any], values: Values = ()) -> None:
        """See `connection.Connection`."""
        if keys:
            self._write(self._text(statement), _with_keys(statement, keys, values))
        else:
            self._check_writing()

    def insert(self, statement: Statement, values: Values) -> int:
        """See `connection.Connection`."""
        self._check_writing()
        return int(self._read(self._text(statement), values)[0][0])

    def many(self, statement: Statement, rows: Iterable[Values]) -> None:
        """See `connection.Connection`."""
        self._check_writing()
        given = list(rows)
        text = self._text(statement)
        for at in range(0, len(given), ROWS_AT_ONCE):
            columns = zip(*given[at : at + ROWS_AT_ONCE], strict=True)
            self._write(text, [list(column) for column in columns])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Wait for the writers' lock, commit durably at the end; an exception undoes all of it."""
        with self.locked():
            self._version = self.execute("SELECT version FROM revision")[0][0]
            yield
            values = (self._version + 1, self._writer)
            self._write("UPDATE revision SET version = %b, writer = %b", values)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Do what `transaction` does, in a database that may have no tables yet."""
        if self._inside:
            raise RuntimeError("a transaction is open already")
        if self._read_only:
            raise DatabaseTrouble(where=self.where, reason="it was opened to be read only")
        self._begin(_BEGIN)
        try:
            yield
        except BaseException:
            self._undo()
            raise
        self._commit()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one moment as long as it lasts; nobody waits for its end."""
        if self._inside:
            raise RuntimeError("a transaction is open already")
        self._begin(_LOOK)
        self._looks = True
        try:
            self._version = self.execute("SELECT version FROM revision")[0][0]
            yield
        finally:
            self._looks = False
            self._undo()

    @property
    def version(self) -> int:
        """How often something was committed, by whomever."""
        if self._inside:
            return self._version
        return int(self.execute("SELECT version FROM revision")[0][0])

    def execute(self, text: str, values: Values = ()) -> list[Found]:
        """Ask something that belongs to this engine alone."""
        return self._read(text, values)

    def command(self, text: str) -> None:
        """Run a statement of a schema; in a transaction."""
        self._write(text, ())

    def close(self) -> None:
        """Close it."""
        if self._raw is not None:
            self._raw.close()

    def _read(self, text: str, values: Values) -> list[Found]:
        for again in (True, False):
            raw = self._live()
            try:
                with self._translated():
                    return raw.execute(cast(Any, text), values, binary=True).fetchall()
            except DatabaseTrouble:
                if self._inside or not raw.closed or not again:
                    raise
        raise AssertionError(text)

    def _write(self, text: str, values: Values) -> None:
        self._check_writing()
        with self._translated():
            self._live().execute(cast(Any, text), values, binary=True)

    def _begin(self, text: str) -> None:
        for again in (True, False):
            raw = self._live()
            try:
                with self._translated():
                    raw.execute(cast(Any, text))
                self._inside = True
                return
            except BaseException as error:
                self._undo()
                lost = isinstance(error, DatabaseTrouble) and raw.closed
                if not lost or not again:
                    raise

    def _commit(self) -> None:
        """Commit. Where the answer is lost, look whether it was done; see `protocol.Store`."""
        raw, before = self._live(), self._version
        try:
            with self._translated():
                raw.execute("COMMIT")
            self._inside = False
        except BaseException:
            self._undo()
            self._unsure = raw.closed
            if not raw.closed or not self._is_mine(before + 1):
                raise

    def _is_mine(self, version: int) -> bool:
        """Return whether the newest commit is known to be the one that this connection tried."""
        try:
            found = self.execute("SELECT version, writer FROM revision")
        except (DatabaseTrouble, DatabaseBusy, psycopg.Error):
            return False
        return found == [(version, self._writer)]

    def _undo(self) -> None:
        """Roll back; what a lost connection began is rolled back by the server."""
        self._inside = False
        raw = self._raw
        if raw is None or raw.closed:
            return
        try:
            raw.execute("ROLLBACK")
        except psycopg.Error:
            raw.close()

    def _live(self) -> psycopg.Connection:
        """Return the connection, made anew where it was lost outside a transaction."""
        if self._raw is not None and not self._raw.closed:
            return self._raw
        if self._inside:
            raise DatabaseTrouble(where=self.where, reason="the connection was lost")
        with self._translated():
            options = self._address.options(READ_ONLY if self._read_only else SESSION)
            conninfo = self._address.conninfo
            raw = psycopg.connect(conninfo, autocommit=True, options=options, **CONNECT)
            try:
                check_server(raw, self.where, read_only=self._read_only)
                if self._unsure:  # the old session may still be committing: wait for its end
                    raw.execute(_BEGIN)
                    raw.execute("ROLLBACK")
            except BaseException:
                raw.close()
                raise
        self._unsure = False
        self._raw = raw
        return raw

    def _check_writing(self) -> None:
        if self._looks or not self._inside:
            raise RuntimeError("a store is changed in a transaction only")

    def _text(self, statement: Statement) -> str:
        found = self._texts.get(statement.text)
        if found is None:
            found = self._texts[statement.text] = _translate(statement)
        return found

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what the server says of locks, disks and itself into central's own words."""
        try:
            yield
        except _BUSY as error:
            raise DatabaseBusy(where=self.where, reason=_words(error)) from error
        except errors.IntegrityError as error:
            raise ConstraintBroken(where=self.where, reason=_words(error)) from error
        except (psycopg.OperationalError, errors.ReadOnlySqlTransaction) as error:
            raise DatabaseTrouble(where=self.where, reason=_words(error)) from error


def _translate(statement: Statement) -> str:
    """Return a statement with this engine's marks, and arrays for its braces."""
    text = statement.text.replace("%", "%%").replace("?", "%b")
    if not statement.kind:
        return text
    if statement.kind in KEYS:
        table = _TABLES[statement.kind]
    else:
        arrays = ", ".join(f"%b::{one}[]" for one in statement.types)
        table = f"SELECT * FROM unnest({arrays})"  # noqa: S608  types of this module
    return text.replace(f"{{{statement.kind}}}", table)


def _with_keys(statement: Statement, keys: Collection[Any], values: Values) -> list[Any]:
    unique = sorted(set(keys))
    pairs = statement.kind == "pairs"
    columns = [list(column) for column in zip(*unique, strict=True)] if pairs else [unique]
    return [*values[: statement.before], *columns, *values[statement.before :]]


def _words(error: psycopg.Error) -> str:
    """Return the first line of what was said: it names no password and no row."""
    primary = error.diag.message_primary or (str(error).strip() or type(error).__name__)
    return primary.splitlines()[0]
