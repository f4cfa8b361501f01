"""What is asked too much, for too long, or in a form that can be read in two ways, is bounded."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientResponse
from multidict import CIMultiDict

from central import listed
from central.http import events, looking
from central.http.logs import to_stderr
from tests.rest.world import Ask, World, opened

V = "/v1/datasets"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with opened(tmp_path) as made:
        made.person("anna", "user", "nu")
        made.person("bela", "user")
        yield made


def test_a_page_ends_where_enough_was_looked_at_and_goes_on_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bounds are made small; with those that hold, a page of 2^32 jobs is answered at once."""
    dataset, big = world.submit("anna", 40), world.submit("anna", 2**32)

    async def script(ask: Ask) -> None:
        async def followed(path: str, name: str) -> tuple[list[Any], int]:
            rows: list[Any] = []
            pages, more = 0, ""
            while pages < 500:
                got = await ask("anna", "GET", f"{V}/{dataset}/{path}{more}")
                assert got.status == 200, got.body
                rows += got.json[name]
                pages, more = pages + 1, f"&cursor={got.json['next']}"
                if got.json["next"] is None:
                    return rows, pages
            raise AssertionError("it has no end")

        for path, name in (("tasks?verdict=done", "tasks"), ("jobs?state=failed", "jobs")):
            got = await ask("anna", "GET", f"{V}/{big}/{path}")
            assert got.json[name] == [] and got.json["next"]
        every = {
            path: await followed(path, path.partition("?")[0])
            for path in ("tasks?limit=7", "jobs?limit=7")
        }
        monkeypatch.setattr(listed, "LOOKED_MAX", 16)
        monkeypatch.setattr(listed, "BLOCK_JOBS", 16)
        monkeypatch.setattr(listed, "PART_COSTS", 0)
        monkeypatch.setattr(listed, "TASKS_AT_ONCE", 12)
        for path, (rows, _) in every.items():
            assert (await followed(path, path.partition("?")[0]))[0] == rows
        for path, name in (("tasks?verdict=done", "tasks"), ("jobs?state=failed", "jobs")):
            rows, pages = await followed(path, name)
            assert rows == [] and pages > 3
        lines = await ask("anna", "GET", f"{V}/{dataset}/tasks", Accept="application/x-ndjson")
        assert [json.loads(one) for one in lines.body.splitlines()] == every["tasks?limit=7"][0]
        none = f"{V}/{dataset}/tasks?verdict=done"
        assert (await ask("anna", "GET", none, Accept="application/x-ndjson")).body == b""

    world.asking(script)


def test_lines_that_break_off_are_no_whole_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = world.submit("anna", 40)
    real, asked = world.authority.task_lines, []

    def failing(*args: Any) -> Any:
        asked.append(args)
        if len(asked) > 1:
            raise OSError("the disk is gone")
        return real(*args)

    monkeypatch.setattr(world.authority, "task_lines", failing, raising=False)
    monkeypatch.setattr(looking, "PIECE_ROWS", 5)

    async def script(ask: Ask) -> None:
        with pytest.raises(ClientPayloadError):
            await ask("anna", "GET", f"{V}/{dataset}/tasks", Accept="application/x-ndjson")

    world.asking(script)
    assert len(asked) == 2


async def ended(answer: ClientResponse) -> bytes:
    """Return what came until the server ended the answer, whole or not."""
    found = b""
    async with asyncio.timeout(60):
        with suppress(ClientPayloadError):
            async for piece in answer.content.iter_any():
                found += piece
    return found


@pytest.mark.parametrize("what", ["revoked", "given away"])
def test_a_listener_who_may_no_more_hears_no_more(world: World, what: str) -> None:
    dataset = world.submit("anna")
    head = world.authorization("anna", "GET", "/v1/events")

    async def script(ask: Ask) -> None:
        async with ask._client.get("/v1/events", headers=head) as answer:
            assert dataset.encode() in await answer.content.readuntil(b"\n\n")
            if what == "revoked":
                await asyncio.to_thread(world.authority.revoke_token, world.numbers["anna"])
                await ended(answer)
            else:
                await asyncio.to_thread(
                    world.authority.share, dataset, world.who("admin"), owner="bela"
                )
                other = await asyncio.to_thread(world.submit, "anna")
                text = await asyncio.wait_for(answer.content.readuntil(b"\n\n"), 60)
                assert other.encode() in text and dataset.encode() not in text

    world.asking(script)


def test_one_person_does_not_take_all_places_of_listeners_nor_keep_those_left(
    world: World,
) -> None:
    head = world.authorization("anna", "GET", "/v1/events")

    async def script(ask: Ask) -> None:
        async def listen() -> ClientResponse:
            return await ask._client.get("/v1/events", headers=head)

        every = [await listen() for _ in range(events.THEIRS_MAX)]
        assert {one.status for one in every} == {200}
        refused = await ask("anna", "GET", "/v1/events")
        assert (refused.status, refused.code) == (429, "too-many-at-once")
        other = world.authorization("bela", "GET", "/v1/events")
        async with ask._client.get("/v1/events", headers=other) as answer:
            assert answer.status == 200
        for one in every:
            one.close()
        async with asyncio.timeout(60):
            while events._listeners["anna"]:
                await asyncio.sleep(0.1)
        assert (await ask("anna", "GET", "/v1/events")).status == 200

    world.asking(script)


@pytest.mark.parametrize(
    "text",
    [
        '{"control": "suspend", "control": "cancel"}',
        '{"control": "suspend", "jobs": [[NaN, 1]]}',
        '{"control": "suspend", "jobs": ' + "[" * 10_000 + "]" * 10_000 + "}",
        '{"control": "suspend", "steps": [' + "9" * 5000 + "]}",
        '{"control": "\\ud800"}',
        "\ufeff{}",
        "{}x",
    ],
)
def test_a_body_that_can_be_read_in_two_ways_is_refused(world: World, text: str) -> None:
    dataset = world.submit("anna")

    async def script(ask: Ask) -> None:
        path = f"{V}/{dataset}/controls"
        head = {"Idempotency_Key": "k", "Content_Type": "application/json"}
        refused = await ask("anna", "POST", path, text.encode(), **head)
        assert (refused.status, refused.code) == (400, "request-malformed")

    world.asking(script)
    assert world.authority.dataset(dataset)["control"] == ""


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00%2B14:00"])
def test_a_time_that_utc_does_not_have_is_refused(world: World, at: str) -> None:
    async def script(ask: Ask) -> None:
        for path in (V, "/v1/aggregates"):
            refused = await ask("anna", "GET", f"{path}?submitted_after={at}")
            assert (refused.status, refused.code) == (400, "request-malformed")

    world.asking(script)


def test_of_two_tokens_none_counts_and_bearer_may_be_small(world: World) -> None:
    async def script(ask: Ask) -> None:
        texts = [world.tokens[who] for who in ("anna", "admin")]
        two = [("Authorization", f"Bearer {one}") for one in texts]
        async with ask._client.get("/v1/me", headers=CIMultiDict(two)) as answer:
            assert answer.status == 401
        small = {"Authorization": f"bearer {texts[0]}"}
        async with ask._client.get("/v1/me", headers=small) as answer:
            assert (await answer.json())["name"] == "anna"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"  # whatever it holds

    world.asking(script)


def test_a_request_that_is_no_http_leaves_no_token_in_the_log(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    token = world.tokens["anna"]

    async def script(ask: Ask) -> None:
        server = ask._client.server
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(
            f"GET /v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n {token}".encode()
        )
        writer.write(b"\r\n\r\n")
        assert b" 400 " in await asyncio.wait_for(reader.readline(), 60)
        writer.close()

    root.handlers = []
    to_stderr()
    try:
        world.asking(script)
    finally:
        root.handlers = before
        root.setLevel(level)
    said = capsys.readouterr().err
    assert token not in said and "Traceback" not in said
    assert "a request is no HTTP" in said


def test_a_task_over_all_of_very_many_jobs_is_shown_at_once(world: World) -> None:
    """Looking at each of 2^32 jobs would take hours, and all reads wait for the few that run."""
    steps = [
        {"name": "make", "command": ["true"], "outputs": ["x"]},
        {"name": "sum", "per": "dataset", "needs": ["make"], "command": ["true"]},
    ]
    written = {"schema": 1, "name": "wide", "jobs": 2**32, "steps": steps}

    async def script(ask: Ask) -> None:
        made = await ask("anna", "POST", V, written, Idempotency_Key="k")
        path = f"{V}/{made.json['id']}/tasks/0/1"
        shown = await ask("anna", "GET", path)
        assert (shown.status, shown.json["complete"]) == (200, False)
        for more in ("/why", "/tell"):
            assert (await ask("anna", "GET", path + more)).status == 200
        assert (await ask("anna", "GET", f"{path[:-1]}0")).json["complete"]

    world.asking(script)


def test_why_follows_a_long_chain_of_needs_for_a_bounded_part(world: World) -> None:
    steps = [
        {
            "name": f"s{number}",
            "needs": [f"s{number - 1}"] if number else [],
            "inputs": [],
            "command": ["true"],
        }
        for number in range(150)
    ]
    written = {"schema": 1, "name": "long", "jobs": 1, "steps": steps}

    async def script(ask: Ask) -> None:
        made = await ask("anna", "POST", V, written, Idempotency_Key="k")
        of, seen = made.json["id"], [149]
        while seen[-1]:
            told = await ask("anna", "GET", f"{V}/{of}/tasks/0/{seen[-1]}/why")
            (because,) = told.json["because"]
            assert (told.json["reason"], because["code"]) == ("parents", "parents")
            at = because["has"].split(":")[0].split(",")[0]
            seen.append(int(at.removeprefix(f"{of}/0/")))
            assert seen[-1] < seen[-2] and (seen[-1] == 0 or "`pulk why" in because["remedy"])
        assert 3 < len(seen) < 10

    world.asking(script)
