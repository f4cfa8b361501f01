"""Access tokens: 256 random bits that central knows by their digests alone.

A token belongs to a person. It has a name, scopes, and a time after which it is worth nothing; it
can be revoked. Because its text is random, a plain digest is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from typing import Any

from bundle.errors import PulkError
from central import archived_people, persons
from central.core.authorise import TOKEN_SCOPES, Principal, Resource, Role, Scope
from central.home import TOKEN_BYTES, Home
from central.provenance import iso
from central.store.protocol import Store
from central.store.rows import PersonRow, TokenRow
from central.workings import Workings

ADMIN = "admin"
FIRST = "first"  # the token that `central init` writes
PREFIX = "pulk_"  # so that one that was published by mistake is found
NAME_CHARS_MAX = 63


class TokenRefused(PulkError):
    """A token can't be made as it was asked for, or there is none of that number."""

    code = "token-refused"
    what = "{reason}"
    remedy = "look at `pulk token list`; nothing was changed"


class UnknownToken(PulkError):
    """There is no token of that number, or it is somebody else's. See `pulk token list`."""

    code = "unknown-token"
    what = "there is no token {number}"
    remedy = "copy the number from `pulk token list`"


def take_token(home: Home, store: Store) -> None:
    """Know the administrator's token: the first one, or the one there is after a restore."""
    if not home.token.exists():
        return
    given = token_digest(home.token.read_text().strip())
    if store.people.token_by_digest(given) is not None:
        return
    with store.transaction():
        admin = next((one for one in store.people.persons() if one.name == ADMIN), None)
        no = admin.no if admin else store.people.add_person(PersonRow(0, ADMIN, Role.ADMIN.value))
        store.people.add_token(TokenRow(0, given, FIRST, no, _words(TOKEN_SCOPES)))
        archived_people.keep_untold(store)


def token_digest(bearer: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(bearer.encode(errors="replace")).digest()


def make(
    workings: Workings,
    by: Principal,
    person: PersonRow,
    name: str,
    scopes: Collection[Scope],
    expires_us: int,
) -> tuple[TokenRow, str]:
    """Make a token for a person; return its row and its text, which is shown this once.

    It is never worth more than what made it: no more scopes, and unless an administrator's
    `admin` scope made it, no longer. Raises TokenRefused.
    """
    with workings.transaction():
        now_us = workings.clock_us()
        _check(by, name, scopes, expires_us, now_us)
        is_admin = by.role is Role.ADMIN and Scope.ADMIN in by.scopes
        if by.expires_us and not is_admin:
            expires_us = min(expires_us or by.expires_us, by.expires_us)
        text = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        row = TokenRow(
            0, token_digest(text), name, person.no, _words(scopes), now_us, expires_us, 0, by.token
        )
        return row._replace(no=workings.store.people.add_token(row)), text


def _check(
    by: Principal, name: str, scopes: Collection[Scope], expires_us: int, now_us: int
) -> None:
    reason = ""
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
        reason = f"a token's name has 1 to {NAME_CHARS_MAX} characters that can be printed"
    elif not scopes or not set(scopes) <= TOKEN_SCOPES:
        reason = f"a token has some of the scopes {_words(TOKEN_SCOPES)}"
    elif not set(scopes) <= by.scopes:
        reason = f"your own token has the scopes {_words(by.scopes)} alone"
    elif expires_us and expires_us <= now_us:
        reason = "it would have expired already"
    if reason:
        raise TokenRefused(where=name[:NAME_CHARS_MAX], reason=reason)


def require(workings: Workings, no: int) -> TokenRow:
    """Return a token. Raises UnknownToken."""
    row = workings.store.people.token(no)
    if row is None:
        raise UnknownToken(number=no)
    return row


def revoke(workings: Workings, no: int) -> TokenRow:
    """Make a token worth nothing, and all that were made with it; a revoked one stays so.

    Else who stole it would keep what was made meanwhile. Raises UnknownToken.
    """
    with workings.transaction():
        row = require(workings, no)
        every = {one.no: one for one in workings.store.people.tokens()}
        now_us, gone = workings.clock_us(), {no}
        for one in every.values():  # ascending: a token is younger than what made it
            if one.made_by in gone:
                gone.add(one.no)
        for each in sorted(gone):
            if not every[each].revoked_us:
                workings.store.people.revoke_token(each, now_us)
        return row if row.revoked_us else row._replace(revoked_us=now_us)


def revoke_all(workings: Workings, person: int) -> None:
    """Make every token of a person worth nothing for good, for who is closed may come back."""
    with workings.transaction():
        now_us = workings.clock_us()
        for one in workings.store.people.tokens():
            if one.person == person and not one.revoked_us:
                workings.store.people.revoke_token(one.no, now_us)


def holds(row: TokenRow, now_us: int) -> bool:
    """Return whether a token is worth something now."""
    return not row.revoked_us and not (row.expires_us and row.expires_us <= now_us)


def principal_of(person: PersonRow, token: TokenRow) -> Principal:
    """Return who asks with a token."""
    return Principal(
        name=person.name,
        role=Role(person.role),
        scopes=frozenset(Scope(word) for word in token.scopes.split()),
        groups=frozenset(persons.groups_of(person)),
        site=person.site,
        no=person.no,
        token=token.no,
        expires_us=token.expires_us,
    )


def resource(row: TokenRow, person: str) -> Resource:
    """Return what authorisation looks at."""
    return Resource(owner=person, scopes=frozenset(Scope(word) for word in row.scopes.split()))


def shown(row: TokenRow, person: str, now_us: int) -> dict[str, Any]:
    """Return a token as plain values, without anything that would let one use it."""
    return {
        "no": row.no,
        "name": row.name,
        "user": person,
        "scopes": row.scopes.split(),
        "made": iso(row.made_us) if row.made_us else None,
        "expires": iso(row.expires_us) if row.expires_us else None,
        "revoked": iso(row.revoked_us) if row.revoked_us else None,
        "holds": holds(row, now_us),
    }


def _words(scopes: Collection[Scope]) -> str:
    return " ".join(sorted(one.value for one in scopes))
