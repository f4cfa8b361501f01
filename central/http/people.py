"""Users and tokens: add, change and remove them, who asks, and who changed what."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from bundle.ids import parse_dataset_id
from central.core.authorise import Action, Resource
from central.errors import UnknownDataset
from central.http import shapes_people as shapes
from central.http.answer import as_json
from central.http.datasets import NAME, Name
from central.http.listing import chosen, number_of_cursor, page, to_cursor
from central.http.queries import Body, Paged, Sorted, read_body
from central.http.route import V1, Asked, Of, Policy, Route
from central.provenance import iso

LIFETIME_S_MAX = 10 * 366 * 86_400
USER_FIELDS = frozenset({"name", "role", "added"})
TOKEN_FIELDS = frozenset({"no", "name", "user", "made", "expires"})
Count = Annotated[int, Field(ge=0, le=2**53)]


class LimitsBody(Body):
    """What a user may use; 0 is no limit."""

    tasks_open: Count = 0
    hours: Annotated[float, Field(ge=0, le=1e12)] = 0.0
    written_bytes: Count = 0
    requests_per_minute: Annotated[int, Field(ge=0, le=10**6)] = 0


class UserBody(Body):
    """A user who is added or changed; what is left out stays as it is.

    `key` is a public key in hex that may sign submission bundles from now on.
    """

    name: Name
    role: Literal["admin", "production", "user", "site", "read-only"] | None = None
    groups: Annotated[list[Name], Field(max_length=100)] | None = None
    site: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$|^$")] | None = None
    limits: LimitsBody | None = None
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class TokenBody(Body):
    """A token that is asked for; `user` is who asks where nobody is named."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    user: Name | None = None
    scopes: list[Literal["read", "submit", "control", "admin"]]
    lifetime_s: Annotated[int, Field(ge=1, le=LIFETIME_S_MAX)] | None = None


class TokensQuery(Sorted):
    """Whose tokens are asked for; an administrator sees those of all."""

    user: Annotated[str, Field(pattern=NAME)] | None = None


class AuditQuery(Paged):
    """Whose changes are asked for, or those of what: a dataset's id, a user, a site."""

    user: Annotated[str, Field(max_length=63)] | None = None
    resource: Annotated[str, Field(max_length=200)] | None = None


async def save(asked: Asked) -> web.StreamResponse:
    """Add a user or change one; answers how many parked bundles the key brought in."""
    given = await read_body(asked.request, UserBody)
    made = await asked.budget.run(
        asked.authority.save_user,
        given.name,
        asked.by,
        role=given.role,
        groups=given.groups,
        site=given.site,
        limits=None if given.limits is None else given.limits.model_dump(),
        key=None if given.key is None else bytes.fromhex(given.key),
    )
    return as_json(made)


async def remove(asked: Asked) -> web.StreamResponse:
    """Take nothing more that a user signs, and none of their tokens."""
    await asked.budget.run(asked.authority.remove_user, asked.part("name"), asked.by)
    return as_json({"removed": asked.part("name")})


async def every(asked: Asked) -> web.StreamResponse:
    """List the users."""
    rows = await asked.budget.run(asked.questions.people)
    query = asked.query(Sorted)
    return as_json(page(rows, query, key="users", of="name", sortable=USER_FIELDS, first="name"))


async def me(asked: Asked) -> web.StreamResponse:
    """Say who asks, with which rights, and what is used of the limits."""
    by = asked.by
    about = await asked.budget.run(asked.questions.used, by.name)
    scopes = sorted(one.value for one in by.scopes)
    expires = iso(by.expires_us) if by.expires_us else None
    return as_json(about | {"scopes": scopes, "token": by.token, "expires": expires})


async def tokens(asked: Asked) -> web.StreamResponse:
    """List tokens: one's own, or for an administrator those of a user or of all."""
    query = asked.query(TokensQuery)
    sees_all = asked.may(Action.TOKEN_LIST, Resource())
    if query.user is not None:
        asked.require(Action.TOKEN_LIST, Resource(owner=query.user))
    of = query.user if query.user is not None or sees_all else asked.by.name
    rows = await asked.budget.run(asked.questions.tokens, of)
    return as_json(page(rows, query, key="tokens", of="no", sortable=TOKEN_FIELDS, first="no"))


async def make_token(asked: Asked) -> web.StreamResponse:
    """Make a token; its text is in this answer alone."""
    given = await read_body(asked.request, TokenBody)
    user = given.user or asked.by.name
    asked.require(Action.TOKEN_MAKE, Resource(owner=user))
    made = await asked.budget.run(
        asked.authority.make_token, user, given.name, given.scopes, given.lifetime_s, asked.by
    )
    return as_json(made)


async def revoke_token(asked: Asked) -> web.StreamResponse:
    """Make a token worth nothing from now on; where it is kept, for a second more."""
    no = int(asked.part("number"))
    return as_json(await asked.budget.run(asked.authority.revoke_token, no, asked.by))


async def audit(asked: Asked) -> web.StreamResponse:
    """List changes: one's own and those to one's own datasets, or for an administrator all."""
    query = asked.query(AuditQuery)
    person, resource = query.user, query.resource
    if not asked.may(Action.AUDIT_READ, Resource()):
        person = await _own_audit(asked, person, resource)
    before = number_of_cursor(query.cursor)
    find = asked.questions.audit
    found = await asked.budget.run(find, before, query.limit, person=person, resource=resource)
    rows: list[dict[str, Any]] = found["audit"]
    more = to_cursor(int(found["next"])) if found["next"] else None
    return as_json({"audit": [chosen(one, query) for one in rows], "next": more})


async def _own_audit(asked: Asked, person: str | None, resource: str | None) -> str | None:
    """Return whose changes are shown to one who may not see all. Raises Forbidden."""
    if resource is None:
        person = asked.by.name if person is None else person
        asked.require(Action.AUDIT_READ, Resource(owner=person))
        return person
    dataset = parse_dataset_id(resource)
    of = await asked.budget.run(asked.questions.resource, dataset)
    if not asked.may(Action.DATASET_READ, of):
        raise UnknownDataset(dataset=dataset)
    asked.require(Action.AUDIT_READ, of)
    return person


USERS, TOKENS = f"{V1}/users", f"{V1}/tokens"
ROUTES = (
    Route(
        "GET",
        USERS,
        Policy(Action.USER_LIST),
        lambda b: b.reads,
        every,
        beside=True,
        query=Sorted,
        gives=shapes.Users,
    ),
    Route(
        "POST",
        USERS,
        Policy(Action.USER_CHANGE),
        lambda b: b.writes,
        save,
        body=UserBody,
        gives=shapes.UserSaved,
    ),
    Route(
        "DELETE",
        f"{USERS}/{{name}}",
        Policy(Action.USER_CHANGE, Of.USER),
        lambda b: b.writes,
        remove,
        gives=shapes.Removed,
    ),
    Route(
        "GET",
        f"{V1}/me",
        Policy(Action.SELF_READ),
        lambda b: b.reads,
        me,
        beside=True,
        gives=shapes.Me,
    ),
    Route(
        "GET",
        TOKENS,
        Policy(Action.TOKEN_LIST),
        lambda b: b.reads,
        tokens,
        beside=True,
        query=TokensQuery,
        gives=shapes.Tokens,
    ),
    Route(
        "POST",
        TOKENS,
        Policy(Action.TOKEN_MAKE),
        lambda b: b.writes,
        make_token,
        body=TokenBody,
        gives=shapes.NewToken,
    ),
    Route(
        "DELETE",
        f"{TOKENS}/{{number:[0-9]{{1,18}}}}",
        Policy(Action.TOKEN_REVOKE, Of.TOKEN),
        lambda b: b.writes,
        revoke_token,
        gives=shapes.TokenRow,
    ),
    Route(
        "GET",
        f"{V1}/audit",
        Policy(Action.AUDIT_READ),
        lambda b: b.reads,
        audit,
        beside=True,
        query=AuditQuery,
        gives=shapes.Audit,
    ),
)
