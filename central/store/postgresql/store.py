"""The store in PostgreSQL through psycopg: several processes, one of which writes at a time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from central.errors import WrongSchema
from central.store.bundles import StoredBundles
from central.store.datasets import StoredDatasets
from central.store.people import StoredPeople
from central.store.postgresql import dump
from central.store.postgresql.address import Address
from central.store.postgresql.connection import PostgresqlConnection
from central.store.segments import StoredSegments
from central.store.statements import migration, schema, split
from central.store.tasks import StoredTasks

SCHEMA = 5
OLDEST = 3  # the first schema that there was of this engine


class PostgresqlStore:
    """See `protocol.Store`. Callable from any thread, one at a time."""

    def __init__(self, address: Address, *, read_only: bool = False) -> None:
        """Open the database, whose tables are made where it has none.

        Raises StoreRefused, NotDurable, WrongSchema, DatabaseBusy, DatabaseTrouble.
        """
        self._address = address
        self._connection = connection = PostgresqlConnection(address, read_only=read_only)
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
    def is_shared(self) -> bool:
        """See `protocol.Store.is_shared`."""
        return True

    @property
    def version(self) -> int:
        """See `protocol.Store.version`."""
        return self._connection.version

    def transaction(self) -> AbstractContextManager[None]:
        """See `protocol.Store.transaction`."""
        return self._connection.transaction()

    def snapshot(self) -> AbstractContextManager[None]:
        """See `protocol.Store.snapshot`."""
        return self._connection.snapshot()

    def check(self) -> list[str]:
        """See `protocol.Store.check`."""
        broken = self._connection.execute(
            "SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid"
            " WHERE NOT i.indisvalid AND c.relnamespace = current_schema()::regnamespace"
        )
        failed = self._connection.execute(
            "SELECT checksum_failures FROM pg_stat_database"
            " WHERE datname = current_database() AND checksum_failures > 0"
        )
        found = [f"index {row[0]} is not valid" for row in broken]
        return found + [f"{row[0]} pages with a wrong checksum" for row in failed]

    def backup(self, to: Path, pause: Callable[[], None] = lambda: None) -> None:
        """See `protocol.Store.backup`."""
        dump.write(self._address, to, pause)

    def close(self) -> None:
        """See `protocol.Store.close`."""
        self._connection.close()

    def _prepare(self, *, read_only: bool) -> None:
        found = self._schema()
        if found != SCHEMA and not read_only:
            with self._connection.locked():
                self._migrate()
        elif found != SCHEMA:
            raise WrongSchema(where=self._connection.where, found=found, expected=SCHEMA)

    def _migrate(self) -> None:
        """Make or change the tables, in one transaction with the schema's number."""
        connection = self._connection
        found = self._schema()  # another may have been faster
        if found and not OLDEST <= found <= SCHEMA:
            raise WrongSchema(where=connection.where, found=found, expected=SCHEMA)
        steps = range(found, SCHEMA)
        texts = [migration("postgresql", one) for one in steps] if found else [schema("postgresql")]
        for statement in (one for text in texts for one in split(text)):
            connection.command(statement)
        connection.command(f"UPDATE revision SET schema = {SCHEMA}")  # noqa: S608

    def _schema(self) -> int:
        if self._connection.execute("SELECT to_regclass('revision')::text") == [(None,)]:
            return 0
        return int(self._connection.execute("SELECT schema FROM revision")[0][0])
