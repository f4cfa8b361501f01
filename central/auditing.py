"""The audit trail: who changed what, when, with which token. Written with the change itself."""

from __future__ import annotations

import json
from typing import Any

from central.core.authorise import Action, Principal
from central.provenance import iso
from central.store.protocol import Store
from central.store.rows import AuditRow
from central.workings import Workings

NEWEST = 2**62  # above every number
DETAIL_CHARS_MAX = 4000


def note(workings: Workings, by: Principal, action: Action, resource: str, **detail: Any) -> None:
    """Note a change, in the transaction that makes it or in one of its own."""
    said = json.dumps({name: value for name, value in detail.items() if value is not None})
    if len(said) > DETAIL_CHARS_MAX:
        said = json.dumps({"left_out": f"{len(said)} characters"})
    row = AuditRow(0, workings.clock_us(), by.name, by.token, action.value, resource, said)
    with workings.transaction():
        workings.store.people.add_audit(row)


def page(
    store: Store, before: int | None, limit: int, *, person: str | None, resource: str | None
) -> dict[str, Any]:
    """Return changes, the newest first, and below which number the next page begins."""
    at = NEWEST if before is None else before
    rows = store.people.audit(at, limit, person=person, resource=resource)
    more = str(rows[-1].no) if len(rows) == limit else None
    return {"audit": [_shown(row) for row in rows], "next": more}


def _shown(row: AuditRow) -> dict[str, Any]:
    return {
        "no": row.no,
        "at": iso(row.at_us),
        "user": row.person,
        "token": row.token or None,
        "action": row.action,
        "resource": row.resource,
        "detail": json.loads(row.detail),
    }
