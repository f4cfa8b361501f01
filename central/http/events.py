"""Server-sent events: which of the datasets that somebody may see changed, as it happens.

Nothing is kept of who listens: a listener that was away reads the lists, then listens on. What an
event says is what `GET /v1/aggregates` says of the dataset; nothing else of the database is read.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress
from typing import Annotated, Any

from aiohttp import hdrs, web
from pydantic import Field

from bundle.errors import PulkError
from central.core.authorise import Action
from central.errors import UnknownDataset
from central.http.auth import still
from central.http.errors import Busy, TooManyAtOnce
from central.http.lines import begun, is_gone
from central.http.media import EVENTS
from central.http.queries import Query
from central.http.route import V1, Asked, Policy, Route

DATASET = r"^[a-z2-7]{26}$"
LISTENERS_MAX = 64  # in one process
THEIRS_MAX = 8  # of one person
LOOK_S = 1.0
ALIVE_S = 15.0  # after which a comment says that the line is alive
LASTS_S = 300.0  # then the listener connects again, and is identified again
_listeners: Counter[str] = Counter()  # by person
_POLICY = Policy(Action.DATASET_LIST)


class EventsQuery(Query):
    """Which dataset is listened to; none: all that may be seen.

    `once`: say how they are, and end.
    """

    dataset: Annotated[str, Field(pattern=DATASET)] | None = None
    once: bool = False


async def listen(asked: Asked) -> web.StreamResponse:
    """Send an event for each dataset that changed: its counts, at most once a second.

    The first events say how all of them are.
    """
    who = asked.by.name
    if _listeners[who] >= THEIRS_MAX:
        raise TooManyAtOnce(what_for="events", at_once=THEIRS_MAX)
    if _listeners.total() >= LISTENERS_MAX:
        raise Busy(what_for="events")
    _listeners[who] += 1
    try:
        return await _send(asked)
    finally:
        _listeners[who] -= 1
        if not _listeners[who]:
            del _listeners[who]


async def _send(asked: Asked) -> web.StreamResponse:
    query = asked.query(EventsQuery)
    only = query.dataset
    version, rows = await asked.budget.run(asked.questions.changes, asked.by, -1)
    if only is not None and only not in {one["dataset"] for one in rows}:
        raise UnknownDataset(dataset=only)
    headers: dict[str, str] = {hdrs.CONTENT_TYPE: EVENTS, hdrs.CACHE_CONTROL: "no-store"}
    answer = await begun(asked.request, headers)
    with suppress(PulkError, ConnectionError):  # who may no more, or is gone, hears no more
        await _tell(asked, answer, (only, query.once), version, rows)
    return answer


async def _tell(
    asked: Asked,
    answer: web.StreamResponse,
    what: tuple[str | None, bool],
    version: int,
    rows: list[Any],
) -> None:
    """Write events until the listener is gone, may no more, or has listened long enough."""
    only, is_once = what
    known: dict[str, Any] = {}
    loop = asyncio.get_running_loop()
    began_s = said_s = loop.time()
    while loop.time() - began_s < LASTS_S and not is_gone(asked.request):
        fresh = [one for one in rows if only in (None, one["dataset"])]
        fresh = [one for one in fresh if known.get(one["dataset"]) != one]
        for one in fresh:
            known[one["dataset"]] = one
            text = f"event: dataset\nid: {version}\ndata: {json.dumps(one)}\n\n"
            await answer.write(text.encode())
        if is_once:
            return
        if fresh:
            said_s = loop.time()
        elif loop.time() - said_s > ALIVE_S:
            said_s = loop.time()
            await answer.write(b": alive\n\n")
        await asyncio.sleep(LOOK_S)
        asked = await still(asked, _POLICY)
        version, rows = await asked.budget.run(asked.questions.changes, asked.by, version)


ROUTES = (
    Route(
        "GET",
        f"{V1}/events",
        _POLICY,
        lambda b: b.reads,
        listen,
        beside=True,
        query=EventsQuery,
        gives=EVENTS,
    ),
)
