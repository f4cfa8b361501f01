"""Who asks: a site by its signature over the request, a user by a bearer token."""

from __future__ import annotations

import re
from dataclasses import replace

from aiohttp import hdrs

from central.errors import Forbidden, Unauthorised
from central.http.route import Access, Asked

_BEARER = re.compile(r"Bearer ([A-Za-z0-9_\-.~+/=]{16,256})")


async def identified(asked: Asked, access: Access) -> Asked:
    """Return the request with its sender. Users in the route's own budget, sites in `checks`.

    Raises Unauthorised, Forbidden, and what the authority raises for a wrong token or signature.
    """
    match access:
        case Access.OPEN:
            return asked
        case Access.USER:
            return replace(asked, token_id=await _user(asked))
        case Access.SITE:
            return await _site(asked)


def has_credentials(asked: Asked) -> bool:
    """Return whether the sender claims to be somebody."""
    return bool(asked.request.headers.get(hdrs.AUTHORIZATION))


async def _user(asked: Asked) -> int:
    given = _BEARER.fullmatch(asked.request.headers.get(hdrs.AUTHORIZATION, ""))
    if given is None:
        raise Unauthorised(where=asked.request.path)
    return await asked.budget.run(asked.questions.token, given[1])


async def _site(asked: Asked) -> Asked:
    request = asked.request
    header = request.headers.get(hdrs.AUTHORIZATION, "")
    path = request.rel_url.raw_path
    check = asked.authority.check_site_request
    site = await asked.service.budgets.checks.run(check, header, request.method, path)
    if site != asked.part("site"):
        raise Forbidden(where=request.path, reason=f"the request is signed by site {site}")
    return replace(asked, site=site)
