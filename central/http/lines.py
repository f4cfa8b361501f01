"""Lines of JSON, for what is long: they go on for as long as there is something."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping

from aiohttp import hdrs, web

from central.http.auth import still
from central.http.media import NDJSON
from central.http.route import Asked, Policy
from central.http.shared import goes_on

ASK_AGAIN_S = 1.0  # how often it is asked whether who listens still may
_LOG = logging.getLogger(__name__)


def wants_lines(request: web.Request) -> bool:
    """Return whether a request asks for lines of JSON."""
    return NDJSON in request.headers.get(hdrs.ACCEPT, "")


async def as_lines(asked: Asked, policy: Policy, pieces: Iterator[bytes]) -> web.StreamResponse:
    """Send lines of JSON; each piece is made in a thread of the budget.

    Where a piece can't be read, or who asks may no more, the answer breaks off without the last
    chunk of HTTP, so that nobody takes what came for all there is. Raises TooManyAtOnce.
    """
    with asked.service.budgets.streams.one(asked.by.name):
        return await _as_lines(asked, policy, pieces)


async def _as_lines(asked: Asked, policy: Policy, pieces: Iterator[bytes]) -> web.StreamResponse:
    request = asked.request
    piece = await asked.budget.run(next, pieces, None)  # what is refused is refused with a status
    answer = await begun(request, {hdrs.CONTENT_TYPE: NDJSON})
    loop = asyncio.get_running_loop()
    asked_s = loop.time()
    try:
        while piece is not None and not is_gone(request):
            if piece:
                await answer.write(piece)
            if loop.time() - asked_s > ASK_AGAIN_S:
                asked_s = loop.time()
                await still(asked, policy)
            piece = await asked.budget.run(next, pieces, None)
    except ConnectionError:
        pass  # who asked is gone: nobody to answer
    except Exception:
        _LOG.exception("lines broke off", extra={"route": request.path})
        if request.transport is not None:
            request.transport.abort()
    return answer


async def begun(request: web.Request, headers: Mapping[str, str]) -> web.StreamResponse:
    """Return an answer that goes on, its head sent: from here on its pieces wait their turn."""
    answer = web.StreamResponse(headers=headers)
    answer.force_close()
    await answer.prepare(request)
    goes_on.set(True)
    return answer


def is_gone(request: web.Request) -> bool:
    """Return whether nobody reads the answer any more."""
    return request.transport is None or request.transport.is_closing()
