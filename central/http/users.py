"""What the administrator asks of users while the server runs: add one, list them, remove one."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from central.http import body
from central.http.answer import as_json
from central.http.errors import RequestMalformed, require_type
from central.http.route import Access, Asked, Route

BODY_BYTES_MAX = 4096


class UserBody(BaseModel):
    """The body of a new user: a name and a public key in hex."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(min_length=1, max_length=63)]
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


async def add(asked: Asked) -> web.StreamResponse:
    """Let a key sign submissions; answers how many parked bundles that brought in."""
    require_type(asked.request, "application/json")
    raw = await body.read(asked.request, BODY_BYTES_MAX)
    try:
        given = UserBody.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(["body", *(str(name) for name in first["loc"])])
        raise RequestMalformed(where=where, reason=first["msg"]) from error
    key = bytes.fromhex(given.key)
    return as_json({"merged": await asked.budget.run(asked.authority.add_user, given.name, key)})


async def remove(asked: Asked) -> web.StreamResponse:
    """Take nothing more that a user signs."""
    await asked.budget.run(asked.authority.remove_user, asked.part("name"))
    return as_json({"removed": asked.part("name")})


async def every(asked: Asked) -> web.StreamResponse:
    """List the users."""
    return as_json({"users": await asked.budget.run(asked.authority.users)})


ROUTES = (
    Route("POST", "/users", Access.USER, lambda b: b.writes, add),
    Route("DELETE", "/users/{name}", Access.USER, lambda b: b.writes, remove),
    Route("GET", "/users", Access.USER, lambda b: b.reads, every),
)
