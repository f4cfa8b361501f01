"""Whether central answers; to those who may know, also how it is."""

from __future__ import annotations

from aiohttp import web

from central.http.answer import as_json
from central.http.auth import has_credentials, identified
from central.http.route import Access, Asked, Route


async def health(asked: Asked) -> web.StreamResponse:
    """Say that the server runs, without touching the database; a user's token shows more."""
    if not has_credentials(asked):
        return as_json({"ok": True})
    await identified(asked, Access.USER)
    return as_json({"ok": True, **await asked.budget.run(asked.questions.health)})


ROUTES = (Route("GET", "/health", Access.OPEN, lambda b: b.reads, health),)
