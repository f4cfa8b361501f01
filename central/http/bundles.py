"""Bundles that came or went, and what became of each."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import Field

from bundle.wire.manifest import Kind
from central.core.authorise import Action, Resource
from central.core.receipts import Outcome
from central.http import shapes
from central.http.answer import as_json
from central.http.listing import chosen, number_of_cursor, to_cursor
from central.http.queries import Paged
from central.http.route import V1, Asked, Policy, Route


class BundlesQuery(Paged):
    """Which bundles are asked for. `site`: those that it made or is to get."""

    site: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    kind: Kind | None = None
    outcome: Outcome | None = None


async def every(asked: Asked) -> web.StreamResponse:
    """List bundles, the newest first: all, or for a site's user those of the site."""
    query = asked.query(BundlesQuery)
    site = query.site or ""
    if not asked.may(Action.BUNDLE_LIST, Resource()):
        site = site or asked.by.site
        asked.require(Action.BUNDLE_LIST, Resource(site=site))
    before = number_of_cursor(query.cursor)
    rows = await asked.budget.run(
        asked.questions.bundles,
        before,
        query.limit,
        producer=site,
        kind=query.kind or "",
        outcome=query.outcome or "",
    )
    more = to_cursor(rows[-1]["no"]) if len(rows) == query.limit else None
    return as_json({"bundles": [chosen(one, query) for one in rows], "next": more})


ROUTES = (
    Route(
        "GET",
        f"{V1}/bundles",
        Policy(Action.BUNDLE_LIST),
        lambda b: b.reads,
        every,
        beside=True,
        query=BundlesQuery,
        gives=shapes.Bundles,
    ),
)
