"""What the administrator asks of sites while the server runs: certify one, list them."""

from __future__ import annotations

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from bundle.ids import parse_site
from bundle.limits import SMALL_LIMITS
from central.core.authorise import Action, Resource
from central.errors import UnknownSite
from central.http import body, shapes
from central.http.answer import as_json
from central.http.errors import require_type
from central.http.listing import page
from central.http.media import BYTES
from central.http.queries import Query, Sorted
from central.http.route import V1, Asked, Of, Policy, Route

FIELDS = frozenset({"site", "enrolled_us", "heard_s", "tasks_leased"})
DETAILS = frozenset({"key", "report", "held", "gaps"})


class EnrolQuery(Query):
    """The words that the site's operator reads out."""

    fingerprint: Annotated[str, Field(max_length=1000)]


async def enrol(asked: Asked) -> web.StreamResponse:
    """Certify a site after its fingerprint was compared; answers the bytes to carry back."""
    require_type(asked.request, BYTES)
    words = asked.query(EnrolQuery).fingerprint
    raw = await body.read(asked.request, SMALL_LIMITS.bytes_max)
    answer = await asked.budget.run(asked.authority.enrol, raw, words, asked.by)
    return web.Response(body=answer, content_type=BYTES)


async def every(asked: Asked) -> web.StreamResponse:
    """List the sites; what one reported and holds is for those who may know."""
    rows = await asked.budget.run(asked.questions.sites)
    query = asked.query(Sorted)
    shown = [shown_to(asked, row) for row in rows]
    return as_json(page(shown, query, key="sites", of="site", sortable=FIELDS, first="site"))


async def one(asked: Asked) -> web.StreamResponse:
    """Show one site."""
    site = parse_site(asked.part("site"))
    for row in await asked.budget.run(asked.questions.sites):
        if row["site"] == site:
            return as_json(shown_to(asked, row))
    raise UnknownSite(site=site)


def shown_to(asked: Asked, row: dict[str, Any]) -> dict[str, Any]:
    """Return of a site what who asks may know."""
    if asked.may(Action.SITE_DETAIL, Resource(site=row["site"])):
        return row
    return {name: value for name, value in row.items() if name not in DETAILS}


async def lost(asked: Asked) -> web.StreamResponse:
    """Take as a fact that a site is lost with all it holds."""
    site = parse_site(asked.part("site"))
    return as_json({"leases": await asked.budget.run(asked.authority.presume_lost, site, asked.by)})


SITES = f"{V1}/sites"
ROUTES = (
    Route(
        "POST",
        SITES,
        Policy(Action.SITE_ENROL),
        lambda b: b.writes,
        enrol,
        query=EnrolQuery,
        body=(BYTES,),
    ),
    Route(
        "POST",
        f"{SITES}/{{site}}/lost",
        Policy(Action.SITE_LOSE, Of.SITE),
        lambda b: b.writes,
        lost,
        gives=shapes.Lost,
    ),
    Route(
        "GET",
        SITES,
        Policy(Action.SITE_LIST),
        lambda b: b.reads,
        every,
        beside=True,
        query=Sorted,
        gives=shapes.Sites,
    ),
    Route(
        "GET",
        f"{SITES}/{{site}}",
        Policy(Action.SITE_LIST),
        lambda b: b.reads,
        one,
        beside=True,
        gives=shapes.SiteRow,
    ),
)
