"""Lists: sorted, a page at a time, with the fields that are asked for.

A cursor names the last row of a page by what the list is sorted by and by the row's id, so that
rows that come or go meanwhile neither repeat nor hide others.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from central.http.errors import RequestMalformed
from central.http.queries import Paged, Sorted

Row = Mapping[str, Any]
_Place = tuple[bool, Any, str]


def page(
    rows: Sequence[Row], query: Sorted, *, key: str, of: str, sortable: Collection[str], first: str
) -> dict[str, Any]:
    """Return one page of rows that are all at hand, and the cursor of the next.

    Args:
        rows: all of them, in any order.
        query: what is asked for.
        key: the name of the list in the answer.
        of: the field that tells one row from another; a text.
        sortable: fields that may be sorted by.
        first: what is sorted by where nothing is asked; with `-` the other way.
    """
    sort = query.sort or first
    name = sort.removeprefix("-")
    if name not in sortable:
        names = ", ".join(sorted(sortable))
        raise RequestMalformed(where="query.sort", reason=f"it can be one of {names}")
    turned = sort.startswith("-")
    ordered = sorted(rows, key=lambda row: _place(row, name, of), reverse=turned)
    if query.cursor is not None:
        last = _from_cursor(query.cursor, sort)
        after = [one for one in ordered if _is_after(_place(one, name, of), last, turned)]
    else:
        after = ordered
    shown = after[: query.limit]
    more = None
    if len(after) > len(shown):
        more = to_cursor([sort, *_place(shown[-1], name, of)])
    return {key: [chosen(one, query) for one in shown], "next": more}


def chosen(row: Row, query: Paged) -> dict[str, Any]:
    """Return a row with the fields that are asked for. Raises RequestMalformed."""
    if query.fields is None:
        return dict(row)
    names = query.fields.split(",")
    unknown = [one for one in names if one not in row]
    if unknown:
        has = ", ".join(row)
        raise RequestMalformed(
            where="query.fields", reason=f"there is no {unknown[0]}; it has {has}"
        )
    return {one: row[one] for one in names}


def to_cursor(value: Any) -> str:
    """Return plain values as a cursor."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def of_cursor(cursor: str) -> Any:
    """Return the plain values of a cursor. Raises RequestMalformed."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return json.loads(base64.urlsafe_b64decode(padded))
    except (ValueError, RecursionError) as error:
        raise bad_cursor() from error


def number_of_cursor(cursor: str | None) -> int | None:
    """Return the number that a cursor is; None where there is none. Raises RequestMalformed."""
    if cursor is None:
        return None
    value = of_cursor(cursor)
    if not isinstance(value, int) or not 0 <= value < 2**63:
        raise bad_cursor()
    return value


def bad_cursor() -> RequestMalformed:
    """Return what is said of a cursor that no page gave."""
    return RequestMalformed(where="query.cursor", reason="it is not what `next` of a page was")


def _from_cursor(cursor: str, sort: str) -> _Place:
    match of_cursor(cursor):
        case [str() as by, bool() as is_none, value, str() as of] if by == sort:
            return is_none, value, of
    raise bad_cursor()


def _place(row: Row, name: str, of: str) -> _Place:
    value = row[name]
    return value is None, 0 if value is None else value, str(row[of])


def _is_after(one: _Place, last: _Place, turned: bool) -> bool:
    try:
        return one < last if turned else one > last
    except TypeError as error:
        raise bad_cursor() from error
