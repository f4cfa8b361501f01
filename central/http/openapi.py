"""OpenAPI 3.1, made of the table of routes: what is not in the code is not in the document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from central import etags
from central.core.authorise import RULES
from central.document.form import DatasetForm
from central.http import shapes
from central.http.errors import RETRY_AFTER_S_MIN
from central.http.media import BYTES, EVENTS, JSON, MSGPACK, NDJSON, PROBLEM, TOML
from central.http.page import as_html
from central.http.route import OPEN, V1, Route

REF = "#/components/schemas/{model}"
PLACES: Mapping[str, Any] = {
    "dataset": {"type": "string", "pattern": "^[a-z2-7]{26}$"},
    "site": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$"},
    "name": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$"},
    "bundle": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "job": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    "step": {"type": "integer", "minimum": 0, "maximum": 2**16 - 1},
    "number": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
}
_PLACE = re.compile(r"\{([a-z0-9]+)(?::(?:[^{}]|\{[0-9,]+\})*)?\}")
_BINARY = {"type": "string", "format": "binary"}
# What JSON Schema says little of; of the rest the form of a dataset document says all.
_WRITTEN = {
    BYTES: _BINARY,
    MSGPACK: _BINARY,
    TOML: {"type": "string", "description": "A dataset document, as docs/dataset-document.md says"},
}
ABOUT = """Pulk's central: datasets, tasks, attempts, sites, bundles, users, tokens.

Send a token as `Authorization: Bearer TOKEN`. Lists come a page at a time: give `next` back as
`cursor`. What must act once takes an `Idempotency-Key`. Errors are RFC 9457 with Pulk's `code`.
"""


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the document of some routes."""
    routes = list(routes)
    models: set[type[BaseModel]] = {shapes.Problem, DatasetForm}
    for route in routes:
        given = (route.query, route.body, route.gives)
        models |= {one for one in given if isinstance(one, type)}
    named = sorted(models, key=lambda one: one.__name__)
    _, defs = models_json_schema([(one, "validation") for one in named], ref_template=REF)
    schemas = defs["$defs"]
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(_path(route), {})[route.method.lower()] = _operation(route, schemas)
    queries = {one.query.__name__ for one in routes if one.query is not None}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pulk", "version": "1", "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": {name: one for name, one in schemas.items() if name not in queries},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "signature": {"type": "apiKey", "in": "header", "name": "Authorization"},
            },
        },
    }


def _path(route: Route) -> str:
    return _PLACE.sub(r"{\1}", route.path)


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    words = (route.answer.__doc__ or "").strip()
    made: dict[str, Any] = {
        "operationId": f"{route.answer.__module__.rpartition('.')[2]}.{route.answer.__name__}",
        "summary": words.split("\n")[0],
        "description": f"{words}\n\n{_who(route)}",
        "tags": [route.path.removeprefix(V1).split("/")[1]],
        "parameters": [*_places(route), *_queries(route, schemas), *_headers(route)],
        "responses": _responses(route),
        "security": _security(route),
    }
    if route.body is not None:
        made["requestBody"] = {"required": True, "content": _body(route)}
    return made


def _who(route: Route) -> str:
    action = route.policy.action
    if action is None:
        return "Open to anybody."
    rule = RULES[action]
    roles = ", ".join(
        f"{role.value} ({' or '.join(sorted(one.value for one in how))})"
        for role, how in rule.may.items()
    )
    scope = f"scope {rule.scope.value}" if rule.scope is not None else "any scope"
    return f"Action `{action.value}`, {scope}; roles: {roles}."


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.policy.is_open:
        return [{}, {"token": []}] if route.path == "/health" else [{}]
    return [{"signature": []}] if route.policy.is_signed else [{"token": []}]


def _places(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": PLACES[name]}
        for name in _PLACE.findall(route.path)
    ]


def _queries(route: Route, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = schemas[route.query.__name__]
    found = []
    for name, form in schema["properties"].items():
        one = {key: value for key, value in form.items() if key not in ("default", "title")}
        either = [each for each in one.pop("anyOf", ()) if each != {"type": "null"}]
        about = {"name": name, "in": "query", "required": name in schema.get("required", ())}
        found.append(about | {"schema": one | (either[0] if either else {})})
    return found


def _headers(route: Route) -> list[dict[str, Any]]:
    text = {"type": "string", "pattern": "^[!-~]{1,128}$"}
    found = []
    if route.key:
        found.append({"name": "Idempotency-Key", "in": "header", "required": True, "schema": text})
    return found


def _body(route: Route) -> dict[str, Any]:
    if isinstance(route.body, type):
        return {JSON: {"schema": _ref(route.body)}}
    kinds: tuple[str, ...] = route.body or ()
    return {one: {"schema": _WRITTEN.get(one) or _ref(DatasetForm)} for one in kinds}


def _responses(route: Route) -> dict[str, Any]:
    gives = route.gives
    if isinstance(gives, type):
        content: dict[str, Any] = {JSON: {"schema": _ref(gives)}}
    elif gives == JSON:  # a document as people write it, or its canonical bytes
        content = {JSON: {"schema": _ref(DatasetForm)}, MSGPACK: {"schema": _BINARY}}
    else:
        content = {gives: {"schema": {"type": "string"} if gives == EVENTS else _BINARY}}
    if route.streams:
        content[NDJSON] = {"schema": {"type": "string"}}
    refused = {PROBLEM: {"schema": _ref(shapes.Problem)}}
    found: dict[str, Any] = {"200": {"description": "Done.", "content": content}}
    if route.method == "GET" and gives != BYTES:
        found["304"] = {"description": "What If-None-Match names is still so."}
    found["4XX"] = {"description": "Refused; nothing was changed.", "content": refused}
    words = f"Not now; try again after Retry-After, at least {RETRY_AFTER_S_MIN} s."
    found["503"] = {"description": words, "content": refused}
    return found


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}


@cache
def _made() -> tuple[bytes, bytes, str]:
    from central.http.app import ROUTES as EVERY

    made = document(EVERY)
    html, policy = as_html(made)
    return etags.as_bytes(made), html, policy


async def described(_: object) -> web.StreamResponse:
    """Show this document."""
    return web.Response(body=_made()[0], content_type=JSON)


async def shown(_: object) -> web.StreamResponse:
    """Show this document as a page for people, which needs nothing from elsewhere."""
    _, html, policy = _made()
    headers = {"Content-Security-Policy": policy}
    return web.Response(body=html, content_type="text/html", charset="utf-8", headers=headers)


ROUTES = (
    Route("GET", f"{V1}/openapi.json", OPEN, lambda b: b.reads, described, True, gives=JSON),
    Route("GET", f"{V1}/docs", OPEN, lambda b: b.reads, shown, True, gives="text/html"),
)
