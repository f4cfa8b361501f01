"""The store in SQLite through sqlite-utils: one connection, one transaction per bundle.

WAL is used only where the library can't lose committed data in it (fixed in 3.51.3, 3.44.6 and
3.50.7); else a rollback journal. Either way a commit is on the disk before it returns.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from sqlite_utils import Database

from bundle.spool import publish
from central.errors import WrongSchema
from central.store.bundles import StoredBundles
from central.store.datasets import StoredDatasets
from central.store.people import StoredPeople
from central.store.segments import StoredSegments
from central.store.sqlite.connection import SqliteConnection
from central.store.sqlite.filesystem import check_filesystem
from central.store.sqlite.library import sqlite3
from central.store.statements import migration, schema, split
from central.store.tasks import StoredTasks

SCHEMA = 5
BACKUP_PAGES = 1024  # that are copied before others get their turn: 4 MiB
WAL_FIXED = (3, 51, 3)
WAL_BACKPORTS = frozenset({(3, 44, 6), (3, 50, 7)})


class SqliteStore:
    """See `protocol.Store`. Callable from any thread, one at a time."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the database, made where it is missing.

        Raises BadFilesystem, WrongSchema, DatabaseBusy, DatabaseTrouble.
        """
        check_filesystem(path.parent)
        if not read_only and not path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._connection = connection = SqliteConnection(path, read_only=read_only)
        try:
            self._prepare(read_only=read_only)
        except BaseException:
            connection.close()
            raise
        self.bundles = StoredBundles(connection)
        self.datasets = StoredDatasets(connection)
        self.segments = StoredSegments(connection)
        self.tasks = StoredTasks(connection)
        self.people = StoredPeople(connection)

    @property
    def database(self) -> Database:
        """The open database, for those who look at SQLite itself."""
        return self._connection.database

    @property
    def is_shared(self) -> bool:
        """See `protocol.Store.is_shared`."""
        return False

    @property
    def version(self) -> int:
        """See `protocol.Store.version`."""
        return self._connection.commits + int(self._connection.execute("PRAGMA data_version")[0][0])

    def transaction(self) -> AbstractContextManager[None]:
        """See `protocol.Store.transaction`."""
        return self._connection.transaction()

    def snapshot(self) -> AbstractContextManager[None]:
        """See `protocol.Store.snapshot`."""
        return self._connection.snapshot()

    def check(self) -> list[str]:
        """See `protocol.Store.check`."""
        rows = self._connection.execute("PRAGMA integrity_check")
        return [str(row[0]) for row in rows if row[0] != "ok"]

    def backup(self, to: Path, pause: Callable[[], None] = lambda: None) -> None:
        """See `protocol.Store.backup`.

        What this connection commits meanwhile goes into the copy too, so it never starts anew.
        """
        os.close(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        copy = sqlite3.connect(to)
        try:
            with self._connection.translated():
                source = self.database.conn
                source.backup(copy, pages=BACKUP_PAGES, progress=lambda *_: pause(), sleep=0.01)
                copy.execute("PRAGMA journal_mode=DELETE").fetchall()
        except BaseException:
            to.unlink()
            raise
        finally:
            copy.close()
        with to.open("rb") as file:
            os.fsync(file.fileno())
        publish.fsync_folder(to.parent)

    def close(self) -> None:
        """See `protocol.Store.close`."""
        self._connection.close()

    def _prepare(self, *, read_only: bool) -> None:
        connection = self._connection
        if not read_only:
            mode = "WAL" if wal_is_safe(sqlite3.sqlite_version_info) else "DELETE"
            connection.execute(f"PRAGMA journal_mode={mode}")
        found = int(connection.execute("PRAGMA user_version")[0][0])
        if found != SCHEMA and not read_only:
            with connection.transaction():
                self._migrate()
        elif found != SCHEMA:
            raise WrongSchema(where=connection.where, found=found, expected=SCHEMA)

    def _migrate(self) -> None:
        """Make or change the tables, in one transaction with the schema's number."""
        connection = self._connection
        found = int(connection.execute("PRAGMA user_version")[0][0])  # another may have been faster
        if not 0 <= found <= SCHEMA:
            raise WrongSchema(where=connection.where, found=found, expected=SCHEMA)
        steps = range(found, SCHEMA)
        texts = [migration("sqlite", one) for one in steps] if found else [schema("sqlite")]
        for statement in (one for text in texts for one in split(text)):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={SCHEMA}")


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """Return whether this SQLite keeps what it committed in WAL mode with several connections."""
    return version >= WAL_FIXED or version in WAL_BACKPORTS
