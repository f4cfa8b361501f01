"""What OpenAPI says of the API is what it does: every operation, many cases of each."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import checks
from schemathesis.generation import GenerationMode

from bundle.trust.request import sign_request
from central.home import now_us
from central.http.app import ROUTES
from central.http.openapi import document
from central.http.page import as_html
from tests.central.site import SITE, enrolled
from tests.central.test_http import Served, start

CASES = 100
ENDLESS = "/v1/events"  # asked to end when it said how things are
NO = frozenset({"false", "0", "off", "f", "n", "no"})
EXCHANGE = "/exchange/"
CHECKS = [
    checks.not_a_server_error,
    *(
        one
        for one in checks.CHECKS.get_all()
        if one.__name__
        in {
            "status_code_conformance",
            "content_type_conformance",
            "response_schema_conformance",
            "negative_data_rejection",
        }
    ),
]
DOCUMENT = document(ROUTES)
OPERATIONS = [(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    site = enrolled(tmp_path_factory.mktemp("served"))
    site.submit(3)
    running = start(site)
    try:
        yield running
    finally:
        assert running.stop() == 0, running.log.read_text()


def test_the_document_names_every_route_once_and_nothing_else() -> None:
    named = {(m.upper(), p) for p, methods in DOCUMENT["paths"].items() for m in methods}
    assert len(named) == len(ROUTES)
    ids = [one["operationId"] for each in DOCUMENT["paths"].values() for one in each.values()]
    assert len(set(ids)) == len(ids)
    text = json.dumps(DOCUMENT)
    refs = set(text.split('"#/components/schemas/')[1:])
    assert {one.split('"')[0] for one in refs} <= set(DOCUMENT["components"]["schemas"])
    for each in DOCUMENT["paths"].values():
        for one in each.values():
            assert one["summary"].endswith((".", ",", ";", ":")) or one["summary"], one


def test_every_route_is_asked() -> None:
    routes = {
        (one.method.lower(), re.sub(r"\{([a-z0-9]+):.*?\}(?=/|$)", r"{\1}", one.path))
        for one in ROUTES
    }
    assert set(OPERATIONS) == routes and len(OPERATIONS) == len(ROUTES)


def test_the_page_needs_nothing_from_elsewhere_and_shows_every_operation() -> None:
    class Seen(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tags: set[str] = set()
            self.ids: set[str] = set()
            self.links: set[str] = set()

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags.add(tag)
            found = dict(attrs)
            assert not {one for one in found if one.startswith("on") or one in ("src", "style")}
            self.ids.add(found.get("id") or "")
            self.links.add(found.get("href") or "")

    html, policy = as_html(DOCUMENT)
    seen = Seen()
    seen.feed(html.decode())
    assert "script" not in seen.tags and "'unsafe" not in policy
    for each in DOCUMENT["paths"].values():
        for one in each.values():
            assert one["operationId"] in seen.ids
    inside = {one for one in seen.links if one.startswith("#")}
    assert {one.removeprefix("#") for one in inside} <= seen.ids


@pytest.mark.programs
def test_page_and_document_are_served_to_anybody(served: Served) -> None:
    status, raw = served.ask("GET", "/v1/openapi.json", Authorization="")
    assert (status, json.loads(raw)) == (200, DOCUMENT)
    status, raw = served.ask("GET", "/v1/docs", Authorization="")
    assert status == 200 and raw == as_html(DOCUMENT)[0]


@pytest.mark.programs
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_case_of_an_operation_breaks_it_or_its_promise(
    served: Served, method: str, path: str
) -> None:
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    operation = schema[path][method]
    about_it = DOCUMENT["paths"][path][method]
    is_signed = path.startswith(EXCHANGE)
    # bytes that are no bundle are an answer there, not a refusal of the request
    held_to = [one for one in CHECKS if not (is_signed and "negative" in one.__name__)]
    (dataset,) = {one["id"] for one in served.client.get("/datasets", q="small")["datasets"][:1]}

    cases = 0

    def one(mode: GenerationMode, most: int) -> None:
        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=most,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: Any) -> None:
            nonlocal cases
            cases += 1
            if path == ENDLESS and str(case.query.get("once", "no")).lower() in NO:
                case.query["once"] = "true"
            if mode is GenerationMode.POSITIVE and "dataset" in case.path_parameters:
                case.path_parameters["dataset"] = dataset  # else all are told that there is none
            if mode is GenerationMode.POSITIVE and is_signed:
                case.path_parameters["site"] = SITE  # else nobody may
            number = str(case.path_parameters.get("number", ""))
            if number.strip().isdecimal():  # never the one that asks
                about = {"name": "spare", "scopes": ["read"]}
                case.path_parameters["number"] = served.client.make_token(about)["no"]
            headers = {"Authorization": f"Bearer {served.site.token}"}
            if is_signed:
                headers = {"Authorization": signature(served, case)}
            found = case.call_and_validate(base_url=served.url, headers=headers, checks=held_to)
            if mode is GenerationMode.POSITIVE and is_signed:
                assert found.status_code not in (401, 403)

        ask()

    can_be_wrong = bool(about_it["parameters"] or "requestBody" in about_it)
    if can_be_wrong:
        one(GenerationMode.NEGATIVE, CASES // 2)
    while cases < CASES:  # some have few that differ: they are asked the same again
        one(GenerationMode.POSITIVE, CASES - cases)
    assert served.client.get("/me")["role"] == "admin"  # all the while: else nothing was tried


def signature(served: Served, case: Any) -> str:
    """Return the header by which the site signs a case."""
    url = case.as_transport_kwargs(base_url=served.url)["url"]
    path = urllib.parse.urlsplit(url).path
    site = served.site
    return sign_request(site.key, site.certificate, case.method.upper(), path, now_us())
