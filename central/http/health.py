"""Whether central answers; to those who may know, also how it is."""

from __future__ import annotations

from aiohttp import web

from central.core.authorise import Action, Resource
from central.http import shapes
from central.http.answer import as_json
from central.http.auth import admitted, has_credentials
from central.http.route import OPEN, Asked, Policy, Route

COUNTS = frozenset({"commit", "datasets", "parked"})


async def health(asked: Asked) -> web.StreamResponse:
    """Say that the server runs, without touching the database; a user's token shows more.

    How much there is and happens is shown to who may see all of it.
    """
    if not has_credentials(asked):
        return as_json({"ok": True})
    asked = await admitted(asked, Policy(Action.HEALTH_READ))
    about = await asked.budget.run(asked.questions.health)
    if not asked.may(Action.DATASET_READ, Resource()):
        about = {name: value for name, value in about.items() if name not in COUNTS}
    return as_json({"ok": True, **about})


ROUTES = (Route("GET", "/health", OPEN, lambda b: b.reads, health, gives=shapes.Health),)
