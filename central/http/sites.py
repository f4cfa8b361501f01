"""What the administrator asks of sites while the server runs: certify one, list them."""

from __future__ import annotations

from aiohttp import web

from bundle.ids import parse_site
from bundle.limits import SMALL_LIMITS
from central.http import body
from central.http.answer import as_json
from central.http.errors import RequestMalformed, require_type
from central.http.route import Access, Asked, Route

BYTES = "application/octet-stream"


async def enrol(asked: Asked) -> web.StreamResponse:
    """Certify a site after its fingerprint was compared; answers the bytes to carry back."""
    require_type(asked.request, BYTES)
    query = asked.request.query
    if len(query) != 1 or "fingerprint" not in query:
        raise RequestMalformed(where="query", reason="it needs fingerprint once, nothing else")
    raw = await body.read(asked.request, SMALL_LIMITS.bytes_max)
    answer = await asked.budget.run(asked.authority.enrol, raw, query["fingerprint"])
    return web.Response(body=answer, content_type=BYTES)


async def every(asked: Asked) -> web.StreamResponse:
    """List the sites."""
    return as_json({"sites": await asked.budget.run(asked.questions.sites)})


async def lost(asked: Asked) -> web.StreamResponse:
    """Take as a fact that a site is lost with all it holds."""
    site = parse_site(asked.part("site"))
    return as_json({"leases": await asked.budget.run(asked.authority.presume_lost, site)})


ROUTES = (
    Route("POST", "/sites", Access.USER, lambda b: b.writes, enrol),
    Route("POST", "/sites/{site}/lost", Access.USER, lambda b: b.writes, lost),
    Route("GET", "/sites", Access.USER, lambda b: b.reads, every, beside=True),
)
