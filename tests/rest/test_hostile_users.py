"""What somebody with a token of a user tries, to see or change what is not theirs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientResponse
from multidict import CIMultiDict

from central import listed
from central.document import render
from central.errors import AccessRefused, Forbidden, Unauthorised, UnknownDataset
from central.http import events, looking
from central.http.logs import to_stderr
from tests.central.conftest import chain
from tests.central.scripted_site import ScriptedSite
from tests.rest.world import Ask, World, opened

V = "/v1/datasets"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with opened(tmp_path) as made:
        made.person("anna", "user", "nu")
        made.person("bela", "user")
        yield made


async def late(ask: Ask, method: str, path: str, content: Any, then: Callable[[], Any]) -> int:
    """Ask as anna with a body whose last byte comes after something else happened."""
    raw = json.dumps(content).encode()

    async def pieces() -> Any:
        yield raw[:-1]
        await asyncio.sleep(0.2)  # it is let in meanwhile; if not, this proves less, never wrong
        await asyncio.to_thread(then)
        yield raw[-1:]

    head = ask.world.authorization("anna", method, path) | {"Idempotency-Key": "late"}
    head |= {"Content-Type": "application/json", "Content-Length": str(len(raw))}
    async with ask._client.request(method, path, data=pieces(), headers=head) as answer:
        await answer.read()
        return answer.status


@pytest.mark.parametrize("what", ["token", "control", "share"])
def test_a_request_that_began_before_its_token_was_revoked_changes_nothing(
    world: World, what: str
) -> None:
    dataset = world.submit("anna")
    path, method, content = {
        "token": ("/v1/tokens", "POST", {"name": "mine for ever", "scopes": ["read"]}),
        "control": (f"{V}/{dataset}/controls", "POST", {"control": "cancel"}),
        "share": (f"{V}/{dataset}/access", "PATCH", {"visibility": "public"}),
    }[what]

    async def script(ask: Ask) -> None:
        def revoke() -> None:
            world.authority.revoke_token(world.numbers["anna"])

        assert await late(ask, method, path, content, revoke) == 401

    world.asking(script)
    about = world.authority.dataset(dataset)
    assert (about["control"], about["visibility"]) == ("", "private")
    assert not any(one["holds"] for one in world.authority.tokens("anna"))


def test_a_dataset_that_was_given_away_while_the_body_came_is_not_controlled(world: World) -> None:
    dataset = world.submit("anna")

    async def script(ask: Ask) -> None:
        def give() -> None:
            world.authority.share(dataset, world.who("admin"), owner="bela")

        path = f"{V}/{dataset}/controls"
        assert await late(ask, "POST", path, {"control": "cancel"}, give) == 404

    world.asking(script)
    assert world.authority.dataset(dataset)["control"] == ""


def test_who_was_let_in_as_somebody_else_is_asked_again_at_the_change(world: World) -> None:
    dataset, anna = world.submit("anna"), world.who("anna")
    world.authority.save_user("anna", role="read-only")
    with pytest.raises(Forbidden):
        world.authority.share(dataset, anna, owner="bela")
    world.authority.save_user("anna", role="user")
    world.authority.share(dataset, world.who("admin"), owner="bela")
    with pytest.raises(UnknownDataset):
        world.authority.share(dataset, anna, owner="anna")
    world.authority.remove_user("anna")
    with pytest.raises(Unauthorised):
        world.authority.make_token("anna", "more", ["read"], None, anna)


def test_tokens_of_who_was_closed_stay_worthless_when_they_come_back(world: World) -> None:
    world.authority.remove_user("anna")
    world.authority.save_user("anna", role="user")
    world.authority._askers = (0, {})
    with pytest.raises(Unauthorised):
        world.who("anna")
    assert not any(one["holds"] for one in world.authority.tokens("anna"))


def test_a_token_may_revoke_itself(world: World) -> None:
    anna = world.who("anna")
    assert not world.authority.revoke_token(anna.token, anna)["holds"]


def test_an_administrators_token_without_its_scope_leaves_tokens_of_others_alone(
    world: World,
) -> None:
    world.token("reads", "admin", ("read",))
    victim = world.numbers["anna"]

    async def script(ask: Ask) -> None:
        wanted = {"name": "for later", "user": "anna", "scopes": ["read"]}
        assert (await ask("reads", "POST", "/v1/tokens", wanted)).status == 403
        refused = await ask("reads", "DELETE", f"/v1/tokens/{victim}")
        assert (refused.status, refused.code) == (404, "unknown-token")
        assert (await ask("anna", "GET", "/v1/me")).status == 200
        own = {"name": "own", "scopes": ["read"]}
        assert (await ask("reads", "POST", "/v1/tokens", own)).status == 200
        assert (await ask("admin", "POST", "/v1/tokens", wanted)).status == 200
        assert (await ask("admin", "DELETE", f"/v1/tokens/{victim}")).status == 200

    world.asking(script)


def test_the_audit_trail_does_not_tell_whether_a_hidden_dataset_exists(world: World) -> None:
    hidden = world.submit("bela")
    public = world.submit("bela", visibility="public")
    missing = "a" * len(hidden)

    async def script(ask: Ask) -> None:
        answers = [
            await ask("anna", "GET", f"/v1/audit?resource={one}") for one in (hidden, missing)
        ]
        texts = {one.body.decode().replace(hidden, "ID").replace(missing, "ID") for one in answers}
        assert len(texts) == 1 and {one.status for one in answers} == {404}
        assert (await ask("anna", "GET", f"/v1/audit?resource={public}")).status == 403

    world.asking(script)


def test_the_audit_trail_is_filtered_by_both_user_and_resource(world: World) -> None:
    dataset = world.submit("anna")
    world.authority.share(dataset, world.who("admin"), owner="bela")

    async def script(ask: Ask) -> None:
        path = f"/v1/audit?resource={dataset}"
        for who in ("admin", "bela"):
            both = (await ask(who, "GET", path)).json["audit"]
            assert [one["user"] for one in both] == ["admin", "anna"]
            (one,) = (await ask(who, "GET", f"{path}&user=anna")).json["audit"]
            assert one["action"] == "dataset.submit"

    world.asking(script)


def test_hidden_and_missing_are_told_apart_by_no_byte(world: World) -> None:
    hidden = world.submit("bela")
    missing = "a" * len(hidden)
    places = ("", "/counts", "/document", "/attempts", "/jobs", "/tasks", "/tasks/0/0/why")

    async def script(ask: Ask) -> None:
        for place in places:
            found = [await ask("anna", "GET", f"{V}/{one}{place}") for one in (hidden, missing)]
            texts = [
                one.body.decode().replace(hidden, "ID").replace(missing, "ID") for one in found
            ]
            assert texts[0] == texts[1]
            heads = [set(one.headers) for one in found]
            assert heads[0] == heads[1] and found[0].status == found[1].status == 404

    world.asking(script)


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
        assert (await ask("anna", "GET", "/v1/events")).status == 503
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


def test_somebodys_dataset_is_not_named_to_who_waits_behind_it(
    world: World, tmp_path: Path
) -> None:
    """The site is busy with nothing, so both datasets could go there; the older one goes first."""
    site = ScriptedSite("south", tmp_path / "south", world.authority)
    world.authority.absorb(site.report(1000))
    hidden, public = world.submit("bela"), world.submit("bela", visibility="public")
    mine = world.submit("anna")
    paths = [f"{V}/{one}/tasks/0/0/why" for one in (mine, public)]

    async def script(ask: Ask) -> None:
        for path in paths:
            theirs = [(await ask(who, "GET", path)).body.decode() for who in ("anna", "admin")]
            assert hidden[:8] not in theirs[0] and "of bela" not in theirs[0].replace(
                f"({public[:8]}) of bela", ""
            )
        told = [(await ask("admin", "GET", path)).body.decode() for path in paths]
        assert any(hidden[:8] in one for one in told), told

    world.asking(script)


def test_a_key_stands_for_who_sees_the_dataset_too(world: World) -> None:
    async def script(ask: Ask) -> None:
        async def submit(query: str, key: str) -> Any:
            return await ask("anna", "POST", f"{V}{query}", render(chain(2)), Idempotency_Key=key)

        first = await submit("", "one")
        assert first.json == (await submit("?visibility=private", "one")).json
        refused = await submit("?visibility=public", "one")
        assert (refused.status, refused.code) == (409, "idempotency-conflict")
        seen = await submit("?visibility=group&group=nu", "two")
        assert seen.json == (await submit("?visibility=group&group=nu", "two")).json
        assert (await submit("", "two")).status == 409

    world.asking(script)


def test_a_quota_is_not_gone_round_by_giving_datasets_away(world: World) -> None:
    tasks = chain(3).tasks()
    world.authority.save_user("bela", limits={"tasks_open": 2 * tasks - 1})
    anna = world.who("anna")
    first, second = world.submit("anna"), world.submit("anna")
    world.authority.share(first, anna, owner="bela")
    with pytest.raises(AccessRefused, match="bela has no room"):
        world.authority.share(second, anna, owner="bela")
    world.authority.share(second, world.who("admin"), owner="bela")


def test_who_left_a_group_may_hide_a_dataset_from_it_and_not_show_it_again(world: World) -> None:
    dataset = world.submit("anna", visibility="group", group="nu")
    world.authority.save_user("anna", groups=[])
    world.authority._askers = (0, {})
    path = f"{V}/{dataset}/access"

    async def script(ask: Ask) -> None:
        hidden = await ask("anna", "PATCH", path, {"visibility": "private"})
        assert hidden.json == {"owner": "anna", "group": "nu", "visibility": "private"}
        for content in ({"visibility": "group"}, {"group": "nu"}):
            refused = await ask("anna", "PATCH", path, content)
            assert (refused.status, refused.code) == (403, "access-refused")
        # nor are names of users found out with what is refused anyway
        for name in ("bela", "nobody-there"):
            refused = await ask("anna", "PATCH", path, {"owner": name, "group": "mu"})
            assert (refused.status, refused.code) == (403, "access-refused")

    world.asking(script)


def test_how_much_others_do_is_not_told_by_health(world: World) -> None:
    async def script(ask: Ask) -> None:
        before = (await ask("anna", "GET", "/health")).json
        await asyncio.to_thread(world.submit, "bela")
        assert (await ask("anna", "GET", "/health")).json == before
        assert (await ask("admin", "GET", "/health")).json["datasets"] == 1

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
