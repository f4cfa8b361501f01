"""Server-sent events: which of the datasets that somebody may see changed, as it happens.

Nothing is kept of who listens: a listener that was away reads the lists, then listens on. What an
event says is what `GET /v1/aggregates` says of the dataset; nothing else of the database is read.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import hdrs, web

from central.core.authorise import Action
from central.http.errors import Busy
from central.http.media import EVENTS
from central.http.queries import Query
from central.http.route import V1, Asked, Policy, Route

LISTENERS_MAX = 64  # in one process
LOOK_S = 1.0
ALIVE_S = 15.0  # after which a comment says that the line is alive
LASTS_S = 300.0  # then the listener connects again, and is identified again
_listeners: set[int] = set()


class EventsQuery(Query):
    """Which dataset is listened to; none: all that may be seen."""

    dataset: str | None = None


async def listen(asked: Asked) -> web.StreamResponse:
    """Send an event for each dataset that changed: its counts, at most once a second.

    The first events say how all of them are.
    """
    if len(_listeners) >= LISTENERS_MAX:
        raise Busy(what_for="events")
    _listeners.add(id(asked.request))
    try:
        return await _send(asked)
    finally:
        _listeners.discard(id(asked.request))


async def _send(asked: Asked) -> web.StreamResponse:
    only = asked.query(EventsQuery).dataset
    known: dict[str, Any] = {}
    version, rows = await asked.budget.run(asked.questions.changes, asked.by, -1)
    headers = {hdrs.CONTENT_TYPE: EVENTS, hdrs.CACHE_CONTROL: "no-store"}
    answer = web.StreamResponse(headers=headers)
    answer.force_close()
    await answer.prepare(asked.request)
    loop = asyncio.get_running_loop()
    began_s = said_s = loop.time()
    while loop.time() - began_s < LASTS_S:
        fresh = [one for one in rows if only in (None, one["dataset"])]
        fresh = [one for one in fresh if known.get(one["dataset"]) != one]
        for one in fresh:
            known[one["dataset"]] = one
            text = f"event: dataset\nid: {version}\ndata: {json.dumps(one)}\n\n"
            await answer.write(text.encode())
        if fresh:
            said_s = loop.time()
        elif loop.time() - said_s > ALIVE_S:
            said_s = loop.time()
            await answer.write(b": alive\n\n")
        await asyncio.sleep(LOOK_S)
        version, rows = await asked.budget.run(asked.questions.changes, asked.by, version)
    return answer


ROUTES = (
    Route(
        "GET",
        f"{V1}/events",
        Policy(Action.DATASET_LIST),
        lambda b: b.reads,
        listen,
        beside=True,
        query=EventsQuery,
        gives=EVENTS,
    ),
)
