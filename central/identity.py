"""Who asks, and what there is to read of people: the part of the questions that is about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bundle.ids import DatasetId
from central import auditing, persons, tokens, users
from central.core.allowance import Limits
from central.core.authorise import Principal, Resource
from central.errors import Unauthorised
from central.reading import Readers
from central.store.protocol import Store
from central.store.rows import TokenRow
from central.tokens import token_digest
from central.workings import Workings

TOKENS_KEPT_US = 1_000_000  # a token that is taken away works for so long still


@dataclass(frozen=True, slots=True)
class Asker:
    """Somebody whose token was looked up."""

    principal: Principal
    token: TokenRow
    limits: Limits


class Identity:
    """See the module. Every method may be called from any thread."""

    def __init__(self, workings: Workings) -> None:
        """Read what these workings write, here or in another process."""
        self._w = workings
        self._readers = Readers(workings)
        self._askers: tuple[int, dict[bytes, Asker]] = (-TOKENS_KEPT_US, {})

    def who(self, bearer: str) -> Asker:
        """Return who asks with a token, and their limits. Raises Unauthorised.

        What is looked up is a digest, so how long it takes tells nothing of any token.
        """
        given, now_us = token_digest(bearer), self._w.clock_us()
        read_us, known = self._askers
        if not 0 <= now_us - read_us < TOKENS_KEPT_US:
            known = {}
            self._askers = (now_us, known)
        found = known.get(given)
        if found is None:
            with self._readers.store() as store:
                found = _asker(store, given)
            known[given] = found
        if not tokens.holds(found.token, now_us):
            raise Unauthorised()
        return found

    def token(self, bearer: str) -> int:
        """Return the number of the person whose token it is. Raises Unauthorised."""
        return self.who(bearer).principal.no

    def resource(self, dataset: DatasetId) -> Resource:
        """Return what authorisation must know of a dataset. Raises UnknownDataset."""
        with self._readers.views() as views:
            return views.resource(dataset)

    def tokens(self, person: str | None) -> list[dict[str, Any]]:
        """Return the tokens of a person, or of all, as plain values."""
        with self._readers.store() as store:
            names = {one.no: one.name for one in store.people.persons()}
            rows = store.people.tokens()
        now_us = self._w.clock_us()
        listed = [(one, names.get(one.person, "")) for one in rows]
        return [tokens.shown(one, of, now_us) for one, of in listed if person in (None, of)]

    def token_resource(self, no: int) -> Resource:
        """Return what authorisation must know of a token. Raises UnknownToken."""
        with self._readers.store() as store:
            row = next((one for one in store.people.tokens() if one.no == no), None)
            names = {one.no: one.name for one in store.people.persons()}
        if row is None:
            raise tokens.UnknownToken(number=no)
        return tokens.resource(row, names.get(row.person, ""))

    def audit(
        self, before: int | None, limit: int, *, person: str | None, resource: str | None
    ) -> dict[str, Any]:
        """Return changes that were made, the newest first."""
        with self._readers.store() as store:
            return auditing.page(store, before, limit, person=person, resource=resource)

    def people(self) -> list[dict[str, Any]]:
        """Return the users as plain values."""
        with self._readers.store() as store:
            return users.listed(store)

    def used(self, person: str) -> dict[str, Any]:
        """Return a person as plain values with what their datasets have in use."""
        with self._readers.views() as views:
            return views.person(person)


def still(store: Store, by: Principal, now_us: int) -> Principal:
    """Return a principal as they are now: long after a request began they may be somebody else.

    Raises Unauthorised where token or person are gone meanwhile.
    """
    if not by.token:
        return by  # who works in central's folder, or who just logged in
    row = store.people.token(by.token)
    person = next((one for one in store.people.persons() if one.no == by.no), None)
    if row is None or person is None or person.closed_us or not tokens.holds(row, now_us):
        raise Unauthorised()
    return tokens.principal_of(person, row)


def _asker(store: Store, digest: bytes) -> Asker:
    row = store.people.token_by_digest(digest)
    people = store.people.persons() if row else []
    person = next((one for one in people if row and one.no == row.person), None)
    if row is None or person is None or person.closed_us:
        raise Unauthorised()
    return Asker(tokens.principal_of(person, row), row, persons.limits_of(person))
