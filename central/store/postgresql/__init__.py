"""The store in PostgreSQL: for a central that one machine no longer holds."""

from central.store.postgresql.store import SCHEMA, PostgresqlStore

__all__ = ["SCHEMA", "PostgresqlStore"]
