"""What a backup asks while the server runs: a copy of the database, and to note what is covered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from central.http import body
from central.http.answer import as_json
from central.http.errors import RequestMalformed, require_type
from central.http.route import Access, Asked, Route

BODY_BYTES_MAX = 8192


class BackupBody(BaseModel):
    """The body of a finished backup: its folder on this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    backup: Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^/")]


async def snapshot(asked: Asked) -> web.StreamResponse:
    """Copy the database into a file in `uploads/`; whoever asked takes it away."""
    return as_json(await asked.budget.run(asked.authority.snapshot))


async def cover(asked: Asked) -> web.StreamResponse:
    """Call safe what a finished backup holds; what it holds is looked at here."""
    require_type(asked.request, "application/json")
    raw = await body.read(asked.request, BODY_BYTES_MAX)
    try:
        given = BackupBody.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise RequestMalformed(where="body", reason=first["msg"]) from error
    return as_json(await asked.budget.run(asked.authority.cover, Path(given.backup)))


ROUTES = (
    Route("POST", "/backups/snapshot", Access.USER, lambda b: b.writes, snapshot),
    Route("POST", "/backups", Access.USER, lambda b: b.writes, cover),
)
