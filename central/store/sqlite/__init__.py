"""The store in SQLite: the embedded default."""

from central.store.sqlite.store import SCHEMA, SqliteStore, wal_is_safe

__all__ = ["SCHEMA", "SqliteStore", "wal_is_safe"]
