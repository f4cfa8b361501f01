"""Naughty texts as what is asked for: every filter of every list takes them as text, or says why.

A filter is no pattern and no statement: what is stored under such a name is found by it alone.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundle.dataset import spec
from central import document
from central.http.app import ROUTES
from central.http.route import Route
from tests.dataset.naughty import CLASSES, NAUGHTY, NEVER
from tests.rest.world import Ask, World, opened

V = "/v1/datasets"
SOME = [several[len(several) // 2] for several in CLASSES.values()]
BOUND = re.compile(r"\{([a-z0-9]+):(?:[^{}]|\{[0-9,]+\})*\}")
READS = [one for one in ROUTES if one.method == "GET" and "/events" not in one.path]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with opened(tmp_path) as made:
        made.person("anna", "production")
        yield made


def quoted(text: str) -> str:
    """Return text as it stands in an address; what is no text is sent all the same."""
    return urllib.parse.quote(text, safe="", errors="surrogatepass")


def paths(route: Route, dataset: str, text: str) -> Iterator[str]:
    """Yield addresses of a route with a text in each place where one can stand."""
    plain = {"dataset": dataset, "id": dataset, "job": "0", "step": "0"}
    bare = BOUND.sub(r"{\1}", route.path)
    names = re.findall(r"\{([a-z0-9]+)\}", bare)
    filled = bare
    for name in names:
        filled = filled.replace(f"{{{name}}}", plain.get(name, "0"))
    for name in names:
        rest = bare.replace(f"{{{name}}}", quoted(text))
        for other in names:
            rest = rest.replace(f"{{{other}}}", plain.get(other, "0"))
        yield rest
    for name in route.query.model_fields if route.query else ():
        yield f"{filled}?{name}={quoted(text)}"


def test_a_naughty_filter_is_text_or_is_refused_in_words(world: World) -> None:
    dataset = str(world.submit("anna", 4))

    async def script(ask: Ask) -> None:
        asked = ((route, text) for route in READS for text in (*SOME, *NEVER))
        for path in (path for route, text in asked for path in paths(route, dataset, text)):
            got = await ask("admin", "GET", path)
            assert got.status < 500, (path, got.body)
            if got.status >= 400:
                assert got.json["what"].isprintable() and got.json["remedy"], path

    world.asking(script)


def test_what_is_stored_under_a_naughty_name_is_found_by_it_and_by_no_pattern(world: World) -> None:
    names = [one for one in NAUGHTY if 0 < len(one) <= 200]
    who = world.who("anna")
    for number, name in enumerate(names):
        step = {"name": "s", "command": ["true"]}
        values = {"schema": 1, "name": name, "jobs": number + 1, "steps": [step]}
        raw = spec.encode(document.parse(values, None, "x"))
        world.authority.submit(raw, idempotency_key=f"k{number}", token_id=who.no, by=who)

    async def script(ask: Ask) -> None:
        for name in names:
            got = await ask("admin", "GET", f"{V}?limit=1000&name={quoted(name)}")
            found: list[Any] = got.json["datasets"]
            alike = {one for one in names if name.lower() in one.lower()}
            assert {one["name"] for one in found} == alike, name
        every = await ask("admin", "GET", f"{V}?limit=1000")
        assert sorted(one["name"] for one in every.json["datasets"]) == sorted(names)
        for text in ("%", "_", "' OR 1=1", "*", "' UNION SELECT 1 --", "\\"):
            got = await ask("admin", "GET", f"{V}?name={quoted('no such ' + text)}")
            assert got.json["datasets"] == [], text
            got = await ask("admin", "GET", f"{V}?owner={quoted(text)}")
            assert got.json["datasets"] == [], text

    world.asking(script)
