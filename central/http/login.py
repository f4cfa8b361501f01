"""Logging in with an identity provider: what a client needs for it, and a token in exchange."""

from __future__ import annotations

import time
from typing import Annotated

from aiohttp import web
from pydantic import Field

from central.http import shapes_people as shapes
from central.http.answer import as_json
from central.http.queries import Body, read_body
from central.http.route import OPEN, V1, Asked, Route
from central.oidc import TOKEN_CHARS_MAX


class LoginBody(Body):
    """The ID token that the identity provider gave for central's client id."""

    id_token: Annotated[str, Field(min_length=1, max_length=TOKEN_CHARS_MAX)]


async def about(asked: Asked) -> web.StreamResponse:
    """Say where to log in: the issuer, central's client id there, and its addresses."""
    return as_json(await asked.budget.run(asked.authority.issuer.about))


async def login(asked: Asked) -> web.StreamResponse:
    """Take an ID token for a token of central's own, which ends after some hours."""
    given = await read_body(asked.request, LoginBody)
    vouched = await asked.budget.run(asked.authority.issuer.vouched, given.id_token, time.time())
    return as_json(await asked.budget.run(asked.authority.login, vouched))


LOGIN = f"{V1}/login"
ROUTES = (
    Route("GET", LOGIN, OPEN, lambda b: b.files, about, gives=shapes.LoginAbout),
    Route("POST", LOGIN, OPEN, lambda b: b.files, login, body=LoginBody, gives=shapes.NewToken),
)
