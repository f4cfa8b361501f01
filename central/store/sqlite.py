"""The store in SQLite through sqlite-utils: one connection, one transaction per bundle.

WAL is used only where the library can't lose committed data in it (fixed in 3.51.3, 3.44.6 and
3.50.7); else a rollback journal. Either way a commit is on the disk before it returns.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlite_utils import Database

from bundle.spool import publish
from central.errors import DatabaseBusy, WrongSchema
from central.store import wanted
from central.store.bundles import SqliteBundles
from central.store.datasets import SqliteDatasets
from central.store.filesystem import check_filesystem
from central.store.people import SqlitePeople
from central.store.queries import migration, schema
from central.store.tasks import SqliteTasks

SCHEMA = 2
BUSY_TIMEOUT_S = 30.0
BACKUP_PAGES = 2048  # copied at once, 8 MiB: as long as others wait
WAL_FIXED = (3, 51, 3)
WAL_BACKPORTS = frozenset({(3, 44, 6), (3, 50, 7)})


class SqliteStore:
    """See `protocol.Store`. Callable from any thread, one at a time."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the database, made where it is missing.

        Raises BadFilesystem, WrongSchema, DatabaseBusy.
        """
        check_filesystem(path.parent)
        if not read_only and not path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        mode = "ro" if read_only else "rw"
        connection = sqlite3.connect(
            f"file:{path}?mode={mode}", uri=True, check_same_thread=False, timeout=BUSY_TIMEOUT_S
        )
        self.database = Database(connection)
        self._where = str(path)
        self._prepare(read_only=read_only)
        self.bundles = SqliteBundles(self.database)
        self.datasets = SqliteDatasets(self.database)
        self.tasks = SqliteTasks(self.database)
        self.people = SqlitePeople(self.database)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `protocol.Store.transaction`."""
        database = self.database
        with _translated(self._where):
            database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            database.rollback()
            raise
        with _translated(self._where):
            try:
                database.execute("COMMIT")
            except BaseException:
                database.rollback()
                raise

    def backup(self, to: Path, pause: Callable[[], None] = lambda: None) -> None:
        """See `protocol.Store.backup`.

        What this connection commits meanwhile goes into the copy too, so it never starts anew.
        """
        copy = sqlite3.connect(to)
        try:
            connection = self.database.conn
            connection.backup(copy, pages=BACKUP_PAGES, progress=lambda *_: pause(), sleep=0.01)
            copy.execute("PRAGMA journal_mode=DELETE").fetchall()
        finally:
            copy.close()
        publish.fsync_file(to)

    def check(self) -> list[str]:
        """See `protocol.Store.check`."""
        rows = self.database.execute("PRAGMA integrity_check").fetchall()
        return [str(row[0]) for row in rows if row[0] != "ok"]

    def close(self) -> None:
        """See `protocol.Store.close`."""
        self.database.close()

    def _prepare(self, *, read_only: bool) -> None:
        database = self.database
        database.execute("PRAGMA synchronous=FULL")
        database.execute("PRAGMA temp_store=MEMORY")
        database.execute("PRAGMA cache_size=-65536")
        if not read_only:
            mode = "WAL" if wal_is_safe(sqlite3.sqlite_version_info) else "DELETE"
            database.execute(f"PRAGMA journal_mode={mode}").fetchall()
        found = database.execute("PRAGMA user_version").fetchone()[0]
        if found == 0 and not read_only:
            self._run(schema())
        elif 1 <= found < SCHEMA and not read_only:
            self._run(*(migration(version) for version in range(found, SCHEMA)))
        elif found != SCHEMA:
            raise WrongSchema(where=self._where, found=found, expected=SCHEMA)
        wanted.make_tables(database)

    def _run(self, *texts: str) -> None:
        """Make or change the tables, in one transaction with the schema's number."""
        with self.transaction():
            for statement in (one for text in texts for one in _statements(text)):
                self.database.execute(statement)
            self.database.execute(f"PRAGMA user_version={SCHEMA}")


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """Return whether this SQLite keeps what it committed in WAL mode with several connections."""
    return version >= WAL_FIXED or version in WAL_BACKPORTS


@contextmanager
def _translated(where: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise DatabaseBusy(where=where, reason=str(error)) from error
        raise


def _statements(text: str) -> Iterable[str]:
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";\n") if part.strip(" ;\n")]
