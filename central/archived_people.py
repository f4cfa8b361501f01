"""People in the archive: each change of one is told by a commit, in the transaction of the change.

So a rebuild, and a restore of an old backup beside a newer archive, know who may: nobody is locked
out, no revoked token is worth anything again, no closed person is open. See ADR 36.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import astuple
from typing import Any

from central.core.commit import Commit, told
from central.core.folk import Folk, Person, Signing, Token
from central.errors import SetBack, SignerNotInForce
from central.joining import publish_commit
from central.store.protocol import Store
from central.store.rows import PersonRow, TokenRow, UserRow
from central.workings import Workings

UNTOLD = "people.untold"  # what no commit says yet; nothing under that name: all of them
AT_ONCE = 1000  # of people, tokens and keys in one commit
_LOG = logging.getLogger(__name__)
PERSON, TOKEN, KEY = "person", "token", "key"


def catch_up(workings: Workings) -> None:
    """Tell of people whom no commit tells of yet, but for a first administrator alone."""
    people = workings.store.people
    is_first = people.meta(UNTOLD) is None and len(people.persons()) == len(people.tokens()) == 1
    if not is_first and _untold(workings.store):
        with workings.transaction():
            tell(workings)


def tell(workings: Workings) -> None:
    """Make the commits that tell of whoever was touched; in the transaction that touched them.

    Where central may not sign now it is kept who is untold: a token is revoked all the same.
    """
    people = workings.store.people
    untold = sorted(_untold(workings.store) | people.touched)
    try:
        while untold:
            workings.signing()
            number = workings.store.bundles.head(workings.epoch) + 1
            at = told(workings.epoch, number)
            _publish(workings, _folk(workings.store, set(untold[:AT_ONCE]), at), number)
            untold = untold[AT_ONCE:]
    except (SetBack, SignerNotInForce) as error:
        _LOG.warning("people are not in the archive yet", extra={"reason": error.text()})
    _keep(workings.store, untold)


def keep_untold(store: Store) -> None:
    """Note that who was touched is untold, where nobody can sign; inside a transaction."""
    if store.people.meta(UNTOLD) is not None:
        _keep(store, _untold(store) | store.people.touched)


def _keep(store: Store, untold: Iterable[tuple[str, str]]) -> None:
    store.people.set_meta(UNTOLD, json.dumps(sorted(untold)).encode())
    store.people.touched.clear()


def join(workings: Workings, folk: Folk) -> None:
    """Take up what a commit says of people, in whatever order commits are read.

    Of a person and a key the newest word counts; a token that was revoked once is never good again.
    """
    people = workings.store.people
    before = set(people.touched)
    for person in folk.persons:
        if _is_news(workings.store, PERSON, person.name, folk.told):
            _join_person(workings.store, person)
    numbers = {one.name: one.no for one in people.persons()}
    for token in folk.tokens:
        _join_token(workings.store, token, numbers[token.person])
    for key in folk.signing:
        if _is_news(workings.store, KEY, key.key.hex(), folk.told):
            _join_key(workings, key, folk.told)
    people.touched.clear()
    people.touched.update(before)  # it was told already


def _publish(workings: Workings, folk: Folk, number: int) -> None:
    def note(_bundle: object, _no: int) -> None:
        for person in folk.persons:
            _is_news(workings.store, PERSON, person.name, folk.told)
        for key in folk.signing:
            _is_news(workings.store, KEY, key.key.hex(), folk.told)

    publish_commit(workings, Commit(folk=folk), number, join=note)
    workings.version += 1


def _untold(store: Store) -> set[tuple[str, str]]:
    raw = store.people.meta(UNTOLD)
    if raw is not None:
        return {(kind, name) for kind, name in json.loads(raw)}
    return {
        *((PERSON, one.name) for one in store.people.persons()),
        *((TOKEN, one.digest.hex()) for one in store.people.tokens()),
        *((KEY, one.key.hex()) for one in store.people.users()),
    }


def _folk(store: Store, untold: set[tuple[str, str]], at: bytes) -> Folk:
    """Return all there is of whoever is named; with a token comes its person."""
    persons = {one.no: one for one in store.people.persons()}
    tokens = [one for one in store.people.tokens() if (TOKEN, one.digest.hex()) in untold]
    named = untold | {(PERSON, persons[one.person].name) for one in tokens}
    return Folk(
        tuple(Person(*one) for one in persons.values() if (PERSON, one.name) in named),
        tuple(Token(*_by_name(one, persons)) for one in tokens),
        tuple(Signing(*one) for one in store.people.users() if (KEY, one.key.hex()) in untold),
        at,
    )


def _by_name(row: TokenRow, persons: dict[int, PersonRow]) -> list[Any]:
    return [persons[row.person].name if at == 3 else value for at, value in enumerate(row)]


def _is_news(store: Store, kind: str, name: str, at: bytes) -> bool:
    """Note when something was told; return whether nobody told of it later."""
    key = f"told/{kind}/{name}"
    if (store.people.meta(key) or b"") >= at:
        return False
    store.people.set_meta(key, at)
    return True


def _join_person(store: Store, said: Person) -> None:
    row = PersonRow(*astuple(said))
    every = store.people.persons()
    known = next((one for one in every if one.name == said.name), None)
    if known is not None:
        store.people.change_person(row._replace(no=known.no))
        return
    if any(one.no == said.no for one in every):  # two centrals gave one number: the first keeps it
        row = row._replace(no=0)
    if said.issuer and any(
        (one.issuer, one.subject) == (said.issuer, said.subject) for one in every
    ):
        row = row._replace(issuer="", subject="")
    store.people.add_person(row)


def _join_key(workings: Workings, said: Signing, at: bytes) -> None:
    """Take up a key. A name has one at a time: of two, the one told of later is in force."""
    row = UserRow(*astuple(said))
    every = [] if said.removed_us else workings.store.people.users()
    for one in every:
        if one.name != said.name or one.removed_us or one.key == said.key:
            continue
        if (workings.store.people.meta(f"told/{KEY}/{one.key.hex()}") or b"") < at:
            workings.save_user(one._replace(removed_us=said.added_us))
        else:
            row = row._replace(removed_us=one.added_us)
    workings.save_user(row)


def _join_token(store: Store, said: Token, person: int) -> None:
    known = store.people.token_by_digest(said.digest)
    if known is None:
        is_taken = store.people.token(said.no) is not None
        number = 0 if is_taken else said.no
        about = (said.scopes, said.made_us, said.expires_us, said.revoked_us, said.made_by)
        store.people.add_token(TokenRow(number, said.digest, said.name, person, *about))
    elif said.revoked_us and (not known.revoked_us or said.revoked_us < known.revoked_us):
        store.people.revoke_token(known.no, said.revoked_us)
