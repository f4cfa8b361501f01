"""People at central: role, groups, site, limits. Commits tell of them (`archived_people`).

A name is given once and for ever, for datasets belong to names: who goes is closed, not removed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from central.core.allowance import Limits
from central.core.authorise import TOKEN_SCOPES, Principal, Role
from central.core.claims import Vouched
from central.errors import UserRefused
from central.provenance import iso
from central.store.protocol import Store
from central.store.rows import PersonRow
from central.workings import Workings

LOCAL = "operator"  # whoever works in central's folder itself: no person of the store
OPERATOR = Principal(LOCAL, Role.ADMIN, TOKEN_SCOPES)
GROUPS_MAX = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")


def find(store: Store, name: str) -> PersonRow | None:
    """Return a person, closed or not."""
    return next((one for one in store.people.persons() if one.name == name), None)


def require(store: Store, name: str) -> PersonRow:
    """Return a person who is not closed. Raises UserRefused."""
    found = find(store, name)
    if found is None or found.closed_us:
        raise UserRefused(where=name, reason="there is no such user")
    return found


def save(
    workings: Workings,
    name: str,
    *,
    role: Role | None = None,
    groups: Iterable[str] | None = None,
    site: str | None = None,
    limits: Limits | None = None,
) -> PersonRow:
    """Make a person, or change one; None leaves what there is. A closed one is open again.

    Raises UserRefused.
    """
    with workings.transaction():
        check_name(name)
        before = find(workings.store, name)
        row = before or PersonRow(0, name, Role.USER.value, made_us=workings.clock_us())
        row = row._replace(closed_us=0)
        if role is not None:
            row = row._replace(role=role.value)
        if groups is not None:
            row = row._replace(member_of=json.dumps(_checked(name, groups)))
        if site is not None:
            row = row._replace(site=site)
        if limits is not None:
            row = row._replace(limits=json.dumps(asdict(limits)))
        if (row.role == Role.SITE) != bool(row.site):
            raise UserRefused(where=name, reason="a user of role site, and no other, has a site")
        if before is None:
            return row._replace(no=workings.store.people.add_person(row))
        _keep_an_admin(workings.store, before, row)
        workings.store.people.change_person(row)
        return row


def vouched(workings: Workings, said: Vouched) -> PersonRow:
    """Make a person for whom an issuer vouches, or bring one up to date.

    The name belongs to the issuer's subject that first came with it. Raises UserRefused.
    """
    store = workings.store
    with workings.transaction():
        its = (said.issuer, said.subject)
        known = next((p for p in store.people.persons() if (p.issuer, p.subject) == its), None)
        if known is not None and known.closed_us:
            raise UserRefused(where=known.name, reason="the user was removed here")
        if known is None:
            check_name(said.name)
            if find(store, said.name) is not None:
                raise UserRefused(where=said.name, reason="the name is somebody else's here")
            row = PersonRow(
                0,
                said.name,
                said.role.value,
                issuer=said.issuer,
                subject=said.subject,
                made_us=workings.clock_us(),
            )
            store.people.add_person(row)
        name = said.name if known is None else known.name
        groups = [one for one in said.groups if _NAME.fullmatch(one)][:GROUPS_MAX]
        return save(workings, name, role=said.role, groups=groups)


def close(workings: Workings, name: str) -> None:
    """Close a person: no token of theirs is worth anything. Raises UserRefused."""
    with workings.transaction():
        row = require(workings.store, name)
        closed = row._replace(closed_us=workings.clock_us())
        _keep_an_admin(workings.store, row, closed)
        workings.store.people.change_person(closed)


def check_name(name: str) -> None:
    """Raise UserRefused unless a person can have this name."""
    if not _NAME.fullmatch(name):
        reason = "a name has 1 to 63 letters, digits, dots, hyphens, underscores or @"
        raise UserRefused(where=name, reason=reason)
    if name == LOCAL:
        reason = f"{LOCAL} stands for whoever works in central's folder itself"
        raise UserRefused(where=name, reason=reason)


def groups_of(row: PersonRow) -> list[str]:
    """Return a person's groups."""
    return [str(one) for one in json.loads(row.member_of)]


def limits_of(row: PersonRow) -> Limits:
    """Return a person's limits."""
    return Limits(**json.loads(row.limits))


def shown(row: PersonRow) -> dict[str, Any]:
    """Return a person as plain values."""
    return {
        "name": row.name,
        "role": row.role,
        "groups": groups_of(row),
        "site": row.site or None,
        "limits": asdict(limits_of(row)),
        "issuer": row.issuer or None,
        "added": iso(row.made_us),
        "closed": iso(row.closed_us) if row.closed_us else None,
    }


def _checked(name: str, groups: Iterable[str]) -> list[str]:
    found = sorted(set(groups))
    if len(found) > GROUPS_MAX or not all(_NAME.fullmatch(one) for one in found):
        raise UserRefused(where=name, reason="a group is named like a user; 100 groups at most")
    return found


def _keep_an_admin(store: Store, before: PersonRow, after: PersonRow) -> None:
    """Raise UserRefused where nobody would be left who may change users."""
    if before.role != Role.ADMIN or (after.role == Role.ADMIN and not after.closed_us):
        return
    others = (one for one in store.people.persons() if one.no != before.no and not one.closed_us)
    if not any(one.role == Role.ADMIN for one in others):
        raise UserRefused(where=before.name, reason="nobody else is an administrator")
