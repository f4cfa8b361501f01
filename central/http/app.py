"""The application: every route of the table, behind identification and translation of errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from aiohttp import web

from central.authority import Authority
from central.config import Config
from central.home import Home
from central.http import (
    backups,
    body,
    bundles,
    datasets,
    events,
    exchange,
    files,
    health,
    login,
    looking,
    notices,
    openapi,
    people,
    sites,
    written,
)
from central.http.answer import with_etag
from central.http.auth import admitted
from central.http.budgets import Budgets
from central.http.errors import translate
from central.http.queries import read_query
from central.http.rates import Rates
from central.http.route import V1, Asked, Route, Service
from central.questions import Questions

ROUTES: tuple[Route, ...] = (
    *exchange.ROUTES,
    *datasets.ROUTES,
    *written.ROUTES,
    *looking.ROUTES,
    *files.ROUTES,
    *sites.ROUTES,
    *bundles.ROUTES,
    *people.ROUTES,
    *notices.ROUTES,
    *login.ROUTES,
    *backups.ROUTES,
    *events.ROUTES,
    *openapi.ROUTES,
    *health.ROUTES,
)


def make_app(authority: Authority, home: Home, config: Config, budgets: Budgets) -> web.Application:
    """Return the application. Bodies are never decompressed: run it with auto_decompress=False."""
    return _app(Service(authority, authority, home, config, budgets, Rates()), ROUTES)


def make_reading_app(
    questions: Questions, home: Home, config: Config, budgets: Budgets
) -> web.Application:
    """Return the application of the process that only reads: the routes `beside`."""
    routes = [one for one in ROUTES if one.beside]
    return _app(Service(None, questions, home, config, budgets, Rates()), routes)


def _app(service: Service, routes: Iterable[Route]) -> web.Application:
    app = web.Application(middlewares=[_closing, translate])
    app.on_response_prepare.append(_as_its_type)
    for route in routes:
        answer = _answering(route, service)
        app.router.add_route(route.method, route.path, answer, expect_handler=body.go_on_later)
    return app


async def _as_its_type(_: web.Request, answer: web.StreamResponse) -> None:
    """Have a browser take an answer for what it says it is: what a payload wrote is no page."""
    answer.headers["X-Content-Type-Options"] = "nosniff"


@web.middleware
async def _closing(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """End the connection with its answer: the next request goes to the door, which sorts them."""
    answer = await handler(request)
    answer.force_close()
    return answer


def _answering(
    route: Route, service: Service
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        asked = Asked(service, request, route.budget(service.budgets))
        asked = await admitted(asked, route.policy)
        if not route.path.startswith(V1):
            return await route.answer(asked)
        asked = replace(asked, given=read_query(request, route.query))
        return with_etag(request, await route.answer(asked))

    return answer
