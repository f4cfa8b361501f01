"""What somebody with a token of a user tries, to see or change what is not theirs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from central.document import render
from central.errors import AccessRefused, Forbidden, Unauthorised, UnknownDataset
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


def test_a_token_ends_none_that_is_wider_than_itself(world: World) -> None:
    """Who finds a token for reading cannot stop its owner's submissions by it."""
    world.person("anna", "user", scopes=("read", "submit"))
    for label, scopes in (("reads", ("read",)), ("controls", ("control",)), ("other", ("read",))):
        world.token(label, "anna", scopes)

    async def script(ask: Ask) -> None:
        async def revoked(who: str, label: str) -> tuple[int, str]:
            answer = await ask(who, "DELETE", f"/v1/tokens/{world.numbers[label]}")
            return answer.status, answer.code

        assert await revoked("reads", "anna") == (403, "forbidden")
        assert await revoked("reads", "controls") == (403, "forbidden")
        assert await revoked("controls", "reads") == (403, "forbidden")  # neither is the wider one
        assert (await ask("anna", "GET", "/v1/me")).status == 200
        assert await revoked("reads", "other") == (200, "")
        assert await revoked("anna", "reads") == (200, "")
        assert await revoked("anna", "controls") == (403, "forbidden")
        assert await revoked("admin", "controls") == (200, "")

    world.asking(script)
    world.token("last", "anna", ("read",))
    with pytest.raises(Forbidden):  # under the lock it is asked again
        world.authority.revoke_token(world.numbers["anna"], world.who("last"))


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
