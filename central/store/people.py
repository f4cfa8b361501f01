"""People, tokens, access, audit, keys of users and of requests, values: see `protocol.People`."""

from __future__ import annotations

from bundle.ids import DatasetId
from central.store.connection import Connection
from central.store.rows import AccessRow, AuditRow, PersonRow, TokenRow, UserRow
from central.store.statements import statements
from central.store.text import storable

_SQL = statements("people")


class StoredPeople:
    """See `protocol.People`."""

    def __init__(self, connection: Connection) -> None:
        """Work on an open connection."""
        self._db = connection
        self.touched: set[tuple[str, str]] = set()

    def persons(self) -> list[PersonRow]:
        """See `protocol.People`."""
        return [PersonRow(*row) for row in self._db.all(_SQL["persons"])]

    def add_person(self, row: PersonRow) -> int:
        """See `protocol.People`."""
        self.touched.add(("person", row.name))
        no = row.no or self._db.value(_SQL["next_person"])
        return self._db.insert(_SQL["add_person"], (no, *row[1:]))

    def change_person(self, row: PersonRow) -> None:
        """See `protocol.People`."""
        self.touched.add(("person", row.name))
        values = (row.role, row.member_of, row.site, row.limits, row.closed_us, row.no)
        self._db.run(_SQL["change_person"], values)

    def add_token(self, row: TokenRow) -> int:
        """See `protocol.People`."""
        self.touched.add(("token", row.digest.hex()))
        no = row.no or self._db.value(_SQL["next_token"])
        return self._db.insert(_SQL["add_token"], (no, *row[1:]))

    def revoke_token(self, no: int, at_us: int) -> None:
        """See `protocol.People`."""
        row = self.token(no)
        if row is not None:
            self.touched.add(("token", row.digest.hex()))
        self._db.run(_SQL["revoke_token"], (at_us, no))

    def tokens(self) -> list[TokenRow]:
        """See `protocol.People`."""
        return [TokenRow(*row) for row in self._db.all(_SQL["tokens"])]

    def token(self, no: int) -> TokenRow | None:
        """See `protocol.People`."""
        row = self._db.one(_SQL["token"], (no,))
        return TokenRow(*row) if row else None

    def token_by_digest(self, digest: bytes) -> TokenRow | None:
        """See `protocol.People`."""
        row = self._db.one(_SQL["token_by_digest"], (digest,))
        return TokenRow(*row) if row else None

    def access(self, dataset: DatasetId) -> AccessRow | None:
        """See `protocol.People`."""
        row = self._db.one(_SQL["access"], (dataset,))
        return AccessRow(*row) if row else None

    def accesses(self) -> dict[DatasetId, AccessRow]:
        """See `protocol.People`."""
        return {row[0]: AccessRow(*row) for row in self._db.all(_SQL["accesses"])}

    def save_access(self, row: AccessRow) -> None:
        """See `protocol.People`."""
        self._db.run(_SQL["save_access"], row)

    def add_audit(self, row: AuditRow) -> None:
        """See `protocol.People`."""
        texts = (storable(one) for one in row[4:])
        self._db.run(_SQL["add_audit"], (row.at_us, row.person, row.token, *texts))

    def audit(
        self, before: int, limit: int, *, person: str | None = None, resource: str | None = None
    ) -> list[AuditRow]:
        """See `protocol.People`."""
        if resource is not None and person is not None:
            both = (resource, person, before, limit)
            found = self._db.all(_SQL["audit_of_resource_by_person"], both)
        elif resource is not None:
            found = self._db.all(_SQL["audit_of_resource"], (resource, before, limit))
        elif person is not None:
            found = self._db.all(_SQL["audit_of_person"], (person, before, limit))
        else:
            found = self._db.all(_SQL["audit"], (before, limit))
        return [AuditRow(*row) for row in found]

    def users(self) -> list[UserRow]:
        """See `protocol.People`."""
        return [UserRow(*row) for row in self._db.all(_SQL["users"])]

    def save_user(self, row: UserRow) -> None:
        """See `protocol.People`."""
        self.touched.add(("key", row.key.hex()))
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
