"""Whether central answers; to those who may know, also how it is."""

from __future__ import annotations

from aiohttp import web

from central.core.authorise import Action
from central.http import shapes
from central.http.answer import as_json
from central.http.auth import admitted, has_credentials
from central.http.route import OPEN, Asked, Policy, Route


async def health(asked: Asked) -> web.StreamResponse:
    """Say that the server runs, without touching the database; a user's token shows more."""
    if not has_credentials(asked):
        return as_json({"ok": True})
    await admitted(asked, Policy(Action.HEALTH_READ))
    return as_json({"ok": True, **await asked.budget.run(asked.questions.health)})


ROUTES = (Route("GET", "/health", OPEN, lambda b: b.reads, health, gives=shapes.Health),)
