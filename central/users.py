"""Users: people whose keys may sign submission bundles. They are in backups, not in the archive.

A removed user stays in the store, for what was merged of theirs still lies in the archive and is
verified there; nothing new of theirs is taken.
"""

from __future__ import annotations

import re
from typing import Any

from bundle.errors import PulkError
from bundle.trust.keys import check_public
from central.provenance import iso
from central.store.rows import UserRow
from central.workings import Workings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")


class UserRefused(PulkError):
    """A user cannot be added under that name or with that key, or there is no such user."""

    code = "user-refused"
    what = "{reason}"
    remedy = "look at `pulk central user list DIR`; nothing was changed"


def add(workings: Workings, name: str, key: bytes) -> UserRow:
    """Let a key sign submissions; the same name and key again change nothing.

    Raises UserRefused, WeakKey.
    """
    check_public(key, where=name)
    with workings.transaction():
        return _add(workings, name, key)


def _add(workings: Workings, name: str, key: bytes) -> UserRow:
    if not _NAME.fullmatch(name):
        reason = "a name has 1 to 63 letters, digits, dots, hyphens, underscores or @"
        raise UserRefused(where=name, reason=reason)
    now = {one.name: one for one in workings.store.people.users() if not one.removed_us}
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
    row = UserRow(key, name, workings.clock_us())
    workings.save_user(row)
    return row


def remove(workings: Workings, name: str) -> None:
    """Take nothing more that a user signs; what was merged stays. Raises UserRefused."""
    with workings.transaction():
        for one in workings.store.people.users():
            if one.name == name and not one.removed_us:
                workings.save_user(one._replace(removed_us=workings.clock_us()))
                return
    raise UserRefused(where=name, reason="there is no such user")


def listed(workings: Workings) -> list[dict[str, Any]]:
    """Return the users as plain values."""
    return [
        {"name": one.name, "key": one.key.hex(), "added": iso(one.added_us)}
        for one in workings.store.people.users()
        if not one.removed_us
    ]


def name_of(workings: Workings, key: bytes) -> str:
    """Return the name of a key's user, removed or not, else the key in hex."""
    found = {one.key: one.name for one in workings.store.people.users()}
    return found.get(key, key.hex())
