"""What sites bring and fetch: the same bundles that travel on a stick."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from bundle.ids import BundleId
from bundle.media.sight import is_sound
from central.authority import Disposition, OutBundle
from central.core.authorise import Action
from central.errors import UnknownBundle
from central.http import body, shapes
from central.http.answer import as_json
from central.http.errors import UploadDamaged, UploadMoved
from central.http.media import BYTES
from central.http.partials import Partials
from central.http.route import Asked, Of, Policy, Route

_LOG = logging.getLogger(__name__)


async def bring(asked: Asked) -> web.StreamResponse:
    """Take one bundle, or the rest of one that broke off; the answer is advisory.

    Only the signed receipt counts.
    """
    service, request = asked.service, asked.request
    size_max = service.config.http.upload_bytes_max
    body.declared_bytes(request, size_max)  # before waiting for a place
    at = body.begins_at(request, size_max)
    named = BundleId(asked.part("bundle"))
    if known := await asked.budget.run(asked.questions.known, named):
        await body.passed_over(request, size_max)
        await asked.budget.run(asked.authority.came_again, named)
        _partials(asked).drop(asked.site, named)
        return _answer(known)
    async with (
        service.budgets.sites.place(asked.site),
        service.budgets.uploads.place(),
        _received(asked, named, at) as path,
    ):
        # The one place where completions wait for the authority: whoever wants to merge several
        # small ones in a transaction gathers them here, and answers each after the commit.
        found = await asked.budget.run(asked.authority.absorb, path)
    facts = {"site": asked.site, "outcome": str(found.outcome), "code": found.code}
    _LOG.info("bundle came", extra={**facts, "bundle": found.bundle or named})
    return _answer(found)


@asynccontextmanager
async def _received(asked: Asked, named: BundleId, at: int) -> AsyncIterator[Path]:
    """Hold a whole file, which is removed at the end; what breaks off before waits for the rest.

    Raises UploadMoved where other bytes wait than the sender goes on from, UploadDamaged where what
    was put together is no bundle, and what receiving raises.
    """
    partials, size_max = _partials(asked), asked.service.config.http.upload_bytes_max
    path = partials.begin(asked.site, named, at)
    if path is None:
        held = partials.held(asked.site, named)
        await body.passed_over(asked.request, size_max)
        raise UploadMoved(where=asked.request.path, at=at, held_bytes=held)
    try:
        try:
            await body.receive(asked.request, size_max, path, at)
        except BaseException:
            partials.keep(asked.site, named, path)
            raise
        if at and not await asyncio.to_thread(is_sound, path):
            raise UploadDamaged(where=asked.request.path)
        yield path
        partials.drop(asked.site, named)
    finally:
        path.unlink(missing_ok=True)


async def held(asked: Asked) -> web.StreamResponse:
    """Say how much of a bundle came before a transfer of it broke off."""
    bundle = BundleId(asked.part("bundle"))
    return as_json({"bundle": bundle, "bytes": _partials(asked).held(asked.site, bundle)})


def _partials(asked: Asked) -> Partials:
    return Partials(asked.service.home, asked.service.config.http.partial_bytes_max)


async def disposition(asked: Asked) -> web.StreamResponse:
    """Say what became of a bundle that came before, so that it need not be brought again."""
    bundle = BundleId(asked.part("bundle"))
    known = await asked.budget.run(asked.questions.known, bundle)
    if known is None:
        raise UnknownBundle(bundle=bundle, site=asked.site)
    return _answer(known)


async def outbox(asked: Asked) -> web.StreamResponse:
    """List what is there for the site; new work may be packed for it now."""
    found = await asked.budget.run(asked.authority.outbox, asked.site)
    return as_json({"bundles": rows_of(found)})


async def fetch(asked: Asked) -> web.StreamResponse:
    """Send one bundle of the site's outbox; ranges are honoured, so a transfer can go on."""
    bundle = BundleId(asked.part("bundle"))
    path = await asked.budget.run(asked.authority.outgoing, asked.site, bundle)
    headers = {"Content-Type": "application/octet-stream", "Cache-Control": "no-transform"}
    return web.FileResponse(path, headers=headers)


def _answer(found: Disposition) -> web.Response:
    about = {"disposition": str(found.outcome), "code": found.code, "text": found.text}
    return as_json(about | {"bundle": found.bundle})


def rows_of(bundles: Iterable[OutBundle]) -> list[dict[str, Any]]:
    """Return an outbox as plain values."""
    return [{"id": b.id, "bytes": b.size_bytes, "sequence": b.sequence} for b in bundles]


SIGNED = Policy(Action.EXCHANGE, Of.SITE)
BUNDLE = "/exchange/{site}/{bundle:[0-9a-f]{64}}"
ROUTES = (
    Route(
        "PUT",
        BUNDLE,
        SIGNED,
        lambda b: b.completions,
        bring,
        body=(BYTES,),
        gives=shapes.Brought,
    ),
    Route(
        "GET",
        f"{BUNDLE}/disposition",
        SIGNED,
        lambda b: b.completions,
        disposition,
        gives=shapes.Brought,
    ),
    Route("GET", f"{BUNDLE}/held", SIGNED, lambda b: b.checks, held, gives=shapes.Held),
    Route(
        "GET",
        "/exchange/{site}/outbox",
        SIGNED,
        lambda b: b.work,
        outbox,
        gives=shapes.Outbox,
    ),
    Route("GET", BUNDLE, SIGNED, lambda b: b.work, fetch),
)
