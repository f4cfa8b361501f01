"""Tokens, users, idempotency keys, and values by name, in SQLite."""

from __future__ import annotations

from sqlite_utils import Database

from central.store.rows import UserRow


class SqlitePeople:
    """See `protocol.People`."""

    def __init__(self, database: Database) -> None:
        """Work on an open database."""
        self._db = database

    def add_token(self, digest: bytes, name: str) -> None:
        """See `protocol.People`."""
        sql = "INSERT INTO token (digest, name) VALUES (?, ?) ON CONFLICT DO NOTHING"
        self._db.execute(sql, (digest, name))

    def tokens(self) -> list[tuple[int, bytes]]:
        """See `protocol.People`."""
        return list(self._db.execute("SELECT no, digest FROM token ORDER BY no"))

    def users(self) -> list[UserRow]:
        """See `protocol.People`."""
        sql = "SELECT key, name, added_us, removed_us FROM user ORDER BY name, added_us, key"
        return [UserRow(*row) for row in self._db.execute(sql)]

    def save_user(self, row: UserRow) -> None:
        """See `protocol.People`."""
        sql = (
            "INSERT INTO user (key, name, added_us, removed_us) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET name = excluded.name,"
            " added_us = excluded.added_us, removed_us = excluded.removed_us"
        )
        self._db.execute(sql, row)

    def remembered(self, token: int, key: str) -> tuple[bytes, bytes] | None:
        """See `protocol.People`."""
        sql = "SELECT request, answer FROM remembered WHERE token = ? AND key = ?"
        row = self._db.execute(sql, (token, key)).fetchone()
        return (row[0], row[1]) if row else None

    def remember(self, token: int, key: str, request: bytes, answer: bytes) -> None:
        """See `protocol.People`."""
        sql = (
            "INSERT INTO remembered (token, key, request, answer) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING"
        )
        self._db.execute(sql, (token, key, request, answer))

    def meta(self, name: str) -> bytes | None:
        """See `protocol.People`."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return bytes(row[0]) if row else None

    def set_meta(self, name: str, value: bytes) -> None:
        """See `protocol.People`."""
        sql = (
            "INSERT INTO meta (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        )
        self._db.execute(sql, (name, value))
