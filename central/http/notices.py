"""What people want to be told of their datasets, and where to."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from central.core.authorise import Action
from central.http import shapes_people as shapes
from central.http.answer import as_json
from central.http.datasets import DATASET, dataset_of
from central.http.queries import Body, read_body
from central.http.route import V1, Asked, Of, Policy, Route

EventWord = Literal["completion", "failures", "silence"]


class ChoiceBody(Body):
    """Of what somebody is told; what is left out stays as it is, an empty `on` ends it."""

    on: Annotated[list[EventWord], Field(max_length=3)] | None = None
    failure_rate: Annotated[float, Field(gt=0, le=1, strict=False)] | None = None
    silence_hours: Annotated[float, Field(ge=0.001, le=24 * 366, strict=False)] | None = None


class ChannelsBody(ChoiceBody):
    """Where somebody is told, and of what; an empty text takes an address away."""

    email: Annotated[str, Field(max_length=254)] | None = None
    webhook: Annotated[str, Field(max_length=2000)] | None = None


async def mine(asked: Asked) -> web.StreamResponse:
    """Show where who asks is told, and of what, of every dataset that they own."""
    return as_json(await asked.budget.run(asked.authority.wishes, asked.by.name))


async def save_mine(asked: Asked) -> web.StreamResponse:
    """Change where who asks is told, and of what; a webhook's secret is in this answer alone."""
    about = _given(await read_body(asked.request, ChannelsBody))
    return as_json(await asked.budget.run(asked.authority.save_wishes, asked.by, about))


async def test(asked: Asked) -> web.StreamResponse:
    """Have a notice sent that says nothing but that it came."""
    return as_json(await asked.budget.run(asked.authority.test_notice, asked.by))


async def of_dataset(asked: Asked) -> web.StreamResponse:
    """Show what who asks is told of one dataset, where they chose it."""
    find = asked.authority.dataset_wishes
    return as_json(await asked.budget.run(find, dataset_of(asked), asked.by.name))


async def save_of_dataset(asked: Asked) -> web.StreamResponse:
    """Choose what who asks is told of one dataset, whatever is told of all their own."""
    about = _given(await read_body(asked.request, ChoiceBody))
    save = asked.authority.save_dataset_wishes
    return as_json(await asked.budget.run(save, dataset_of(asked), asked.by, about))


def _given(body: Body) -> dict[str, Any]:
    return body.model_dump(exclude_none=True)


MINE, ONE = f"{V1}/me/notifications", f"{DATASET}/notifications"
_CHANGE = Policy(Action.SELF_CHANGE)
ROUTES = (
    Route("GET", MINE, Policy(Action.SELF_READ), lambda b: b.reads, mine, gives=shapes.Wishes),
    Route(
        "PATCH",
        MINE,
        _CHANGE,
        lambda b: b.writes,
        save_mine,
        body=ChannelsBody,
        gives=shapes.Wishes,
    ),
    Route("POST", f"{MINE}/test", _CHANGE, lambda b: b.writes, test, gives=shapes.Tested),
    Route(
        "GET",
        ONE,
        Policy(Action.DATASET_READ, Of.DATASET),
        lambda b: b.reads,
        of_dataset,
        gives=shapes.DatasetWishes,
    ),
    Route(
        "PATCH",
        ONE,
        Policy(Action.DATASET_NOTIFY, Of.DATASET),
        lambda b: b.writes,
        save_of_dataset,
        body=ChoiceBody,
        gives=shapes.DatasetWishes,
    ),
)
