"""Lines of JSON, for what is long: they go on for as long as there is something."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from aiohttp import hdrs, web

from central.http.budget import Budget
from central.http.media import NDJSON


def wants_lines(request: web.Request) -> bool:
    """Return whether a request asks for lines of JSON."""
    return NDJSON in request.headers.get(hdrs.ACCEPT, "")


async def as_lines(
    request: web.Request, budget: Budget, pieces: Iterator[bytes]
) -> web.StreamResponse:
    """Send lines of JSON; each piece is made in a thread of the budget.

    A line that begins with {"error" says that what follows could not be read; whoever reads must
    not take what came for all there is.
    """
    answer = web.StreamResponse(headers={hdrs.CONTENT_TYPE: NDJSON})
    answer.force_close()
    first = await budget.run(next, pieces, b"")  # what is refused is refused with a status
    await answer.prepare(request)
    piece = first
    while piece:
        await answer.write(piece)
        piece = await budget.run(next, pieces, b"")
        await asyncio.sleep(0)
    await answer.write_eof()
    return answer
