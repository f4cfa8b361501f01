"""What sites bring and fetch: the same bundles that travel on a stick."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from bundle.ids import BundleId
from central.authority import Disposition, OutBundle
from central.core.authorise import Action
from central.errors import UnknownBundle
from central.home import upload_place
from central.http import body
from central.http.answer import as_json
from central.http.route import Asked, Of, Policy, Route

_LOG = logging.getLogger(__name__)


async def bring(asked: Asked) -> web.StreamResponse:
    """Take one bundle; the answer is advisory, only the signed receipt counts."""
    service, request = asked.service, asked.request
    size_max = service.config.http.upload_bytes_max
    body.declared_bytes(request, size_max)  # before waiting for a place
    named = BundleId(asked.part("bundle"))
    if known := await asked.budget.run(asked.questions.known, named):
        await body.passed_over(request, size_max)
        await asked.budget.run(asked.authority.came_again, named)
        return _answer(known)
    async with (
        service.budgets.sites.place(asked.site),
        service.budgets.uploads.place(),
        body.received(request, size_max, upload_place(service.home)) as path,
    ):
        # The one place where completions wait for the authority: whoever wants to merge several
        # small ones in a transaction gathers them here, and answers each after the commit.
        found = await asked.budget.run(asked.authority.absorb, path)
    facts = {"site": asked.site, "outcome": str(found.outcome), "code": found.code}
    _LOG.info("bundle came", extra={**facts, "bundle": found.bundle or named})
    return _answer(found)


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
    Route("PUT", BUNDLE, SIGNED, lambda b: b.completions, bring),
    Route("GET", f"{BUNDLE}/disposition", SIGNED, lambda b: b.completions, disposition),
    Route("GET", "/exchange/{site}/outbox", SIGNED, lambda b: b.work, outbox),
    Route("GET", BUNDLE, SIGNED, lambda b: b.work, fetch),
)
