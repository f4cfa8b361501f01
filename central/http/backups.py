"""What a backup asks while the server runs: a copy of the database, and to note what is covered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from aiohttp import web
from pydantic import Field

from central.core.authorise import Action
from central.http import shapes
from central.http.answer import as_json
from central.http.queries import Body, read_body
from central.http.route import V1, Asked, Policy, Route


class BackupBody(Body):
    """A finished backup: its folder on this machine."""

    backup: Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^/")]


async def snapshot(asked: Asked) -> web.StreamResponse:
    """Copy the database into a file in `uploads/`; whoever asked takes it away."""
    return as_json(await asked.budget.run(asked.authority.snapshot, asked.by))


async def cover(asked: Asked) -> web.StreamResponse:
    """Call safe what a finished backup holds; what it holds is looked at here."""
    given = await read_body(asked.request, BackupBody)
    return as_json(await asked.budget.run(asked.authority.cover, Path(given.backup), asked.by))


BACKUPS = f"{V1}/backups"
ROUTES = (
    Route(
        "POST",
        f"{BACKUPS}/snapshot",
        Policy(Action.BACKUP),
        lambda b: b.writes,
        snapshot,
        gives=shapes.Snapshot,
    ),
    Route(
        "POST",
        BACKUPS,
        Policy(Action.BACKUP),
        lambda b: b.writes,
        cover,
        body=BackupBody,
        gives=shapes.Covered,
    ),
)
