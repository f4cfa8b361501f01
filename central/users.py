"""Users' keys: whose may sign submission bundles. Commits tell of them (`archived_people`).

A removed user stays in the store, for what was merged of theirs still lies in the archive and is
verified there; nothing new of theirs is taken.
"""

from __future__ import annotations

from typing import Any

from bundle.trust.keys import check_public
from central import persons, tokens
from central.errors import UserRefused
from central.store.protocol import Store
from central.store.rows import UserRow
from central.workings import Workings


def add(workings: Workings, name: str, key: bytes) -> UserRow:
    """Let a key sign submissions; the same name and key again change nothing.

    Raises UserRefused, WeakKey.
    """
    check_public(key, where=name)
    with workings.transaction():
        return _add(workings, name, key)


def _add(workings: Workings, name: str, key: bytes) -> UserRow:
    persons.check_name(name)
    now = {one.name: one for one in _signing(workings)}
    if name in now and now[name].key == key:
        return now[name]
    other = next((one.name for one in now.values() if one.key == key), None)
    if name in now:
        raise UserRefused(where=name, reason="the name is another key's: remove that user first")
    if other is not None:
        raise UserRefused(where=name, reason=f"the key is that of user {other}")
    role = workings.trust.role_of(key)
    if role is not None:
        raise UserRefused(where=name, reason=f"the key is a {role.value} key of the trust file")
    if any(site.key == key for site in workings.store.bundles.sites()):
        raise UserRefused(where=name, reason="the key is a site's")
    if (person := persons.find(workings.store, name)) is None or person.closed_us:
        persons.save(workings, name)
    row = UserRow(key, name, workings.clock_us())
    workings.save_user(row)
    return row


def remove(workings: Workings, name: str) -> None:
    """Take nothing more that a user signs, and no token; what was merged stays.

    Raises UserRefused.
    """
    with workings.transaction():
        key = next((one for one in _signing(workings) if one.name == name), None)
        person = persons.find(workings.store, name)
        if key is None and (person is None or person.closed_us):
            raise UserRefused(where=name, reason="there is no such user")
        if person is not None and not person.closed_us:
            persons.close(workings, name)
            tokens.revoke_all(workings, person.no)
        if key is not None:
            workings.save_user(key._replace(removed_us=workings.clock_us()))


def listed(store: Store) -> list[dict[str, Any]]:
    """Return the users who are not closed, as plain values."""
    keys = {one.name: one.key.hex() for one in store.people.users() if not one.removed_us}
    people = [one for one in store.people.persons() if not one.closed_us]
    return [persons.shown(one) | {"key": keys.get(one.name)} for one in people]


def _signing(workings: Workings) -> list[UserRow]:
    return [one for one in workings.store.people.users() if not one.removed_us]


def name_of(workings: Workings, key: bytes) -> str:
    """Return the name of a key's user, removed or not, else the key in hex."""
    found = {one.key: one.name for one in workings.store.people.users()}
    return found.get(key, key.hex())
