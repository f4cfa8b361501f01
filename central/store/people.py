"""Tokens, users, idempotency keys, and values by name: see `protocol.People`."""

from __future__ import annotations

from central.store.connection import Connection
from central.store.rows import UserRow
from central.store.statements import statements

_SQL = statements("people")


class StoredPeople:
    """See `protocol.People`."""

    def __init__(self, connection: Connection) -> None:
        """Work on an open connection."""
        self._db = connection

    def add_token(self, digest: bytes, name: str) -> None:
        """See `protocol.People`."""
        self._db.run(_SQL["add_token"], (digest, name))

    def tokens(self) -> list[tuple[int, bytes]]:
        """See `protocol.People`."""
        return [(no, digest) for no, digest in self._db.all(_SQL["tokens"])]

    def users(self) -> list[UserRow]:
        """See `protocol.People`."""
        return [UserRow(*row) for row in self._db.all(_SQL["users"])]

    def save_user(self, row: UserRow) -> None:
        """See `protocol.People`."""
        self._db.run(_SQL["save_user"], row)

    def remembered(self, token: int, key: str) -> tuple[bytes, bytes] | None:
        """See `protocol.People`."""
        row = self._db.one(_SQL["remembered"], (token, key))
        return (row[0], row[1]) if row else None

    def remember(self, token: int, key: str, request: bytes, answer: bytes) -> None:
        """See `protocol.People`."""
        self._db.run(_SQL["remember"], (token, key, request, answer))

    def meta(self, name: str) -> bytes | None:
        """See `protocol.People`."""
        row = self._db.one(_SQL["meta"], (name,))
        return bytes(row[0]) if row else None

    def set_meta(self, name: str, value: bytes) -> None:
        """See `protocol.People`."""
        self._db.run(_SQL["set_meta"], (name, value))
