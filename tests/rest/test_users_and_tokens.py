"""Tokens are worth what they say and no more; quotas hold; every change is in the audit trail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.dataset import spec
from bundle.dataset.asks import Account
from central.board import user_of
from central.config import Config
from central.core.authorise import Visibility
from central.core.facts import ControlWord
from central.errors import AccessRefused, QuotaExceeded, Unauthorised, UserRefused
from central.rebuild import rebuild
from central.store.opening import open_store
from central.store.sqlite.library import sqlite3
from central.tokens import TokenRefused
from tests.central.conftest import chain
from tests.rest.world import Ask, World, opened


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with opened(tmp_path) as made:
        yield made


def test_a_token_is_kept_as_a_digest_alone(world: World, tmp_path: Path) -> None:
    world.person("anna", "user")
    text = world.tokens["anna"]
    assert text.startswith("pulk_")
    for path in world.site.home.root.rglob("*"):
        if path.is_file():
            assert text.encode() not in path.read_bytes(), path
    assert text not in str(world.authority.tokens(None)) + str(
        world.authority.audit(None, 100, person=None, resource=None)
    )


def test_a_token_is_worth_no_more_than_what_made_it(world: World) -> None:
    world.person("anna", "user", scopes=("read", "submit"))
    anna = world.who("anna")
    with pytest.raises(TokenRefused, match="read submit"):
        world.authority.make_token("anna", "wider", ["control"], None, anna)
    world.token("short", "anna", ("read",), lifetime_s=60)
    short = world.who("short")
    longer = world.authority.make_token("anna", "longer", ["read"], 3600, short)
    forever = world.authority.make_token("anna", "forever", ["read"], None, short)
    its = {one["name"]: one["expires"] for one in world.authority.tokens("anna")}
    assert longer["expires"] == forever["expires"] == its["short"]
    for name, scopes in (("", ["read"]), ("x" * 64, ["read"]), ("a\nb", ["read"]), ("none", [])):
        with pytest.raises(TokenRefused):
            world.authority.make_token("anna", name, scopes, None, anna)
    with pytest.raises(TokenRefused):
        world.authority.make_token("anna", "site's", ["exchange"], None)


def test_what_was_made_with_a_token_goes_with_it(world: World) -> None:
    world.person("anna", "user")
    anna = world.who("anna")
    made = world.authority.make_token("anna", "stolen's", ["read"], None, anna)
    world.tokens["child"] = made["token"]
    grand = world.authority.make_token("anna", "third", ["read"], None, world.who("child"))
    world.token("apart", "anna")
    world.authority.revoke_token(world.numbers["anna"], anna)
    world.authority._askers = (0, {})
    for text in (world.tokens["anna"], made["token"], grand["token"]):
        with pytest.raises(Unauthorised):
            world.authority.who(text)
    assert world.who("apart").name == "anna"


def test_the_owner_is_charged_unless_the_document_says_otherwise(world: World) -> None:
    world.person("anna", "user")
    dataset = world.submit("anna")
    workings = world.authority._w
    row = workings.dataset(dataset)
    assert user_of(workings, row, Account()) == "anna"
    assert user_of(workings, row, Account(user="bela")) == "bela"
    nobodys = workings.dataset(world.submit(""))
    assert user_of(workings, nobodys, Account()) == ""


def test_who_is_closed_comes_back_under_the_same_name_and_number_alone(world: World) -> None:
    world.person("anna", "user")
    no = world.who("anna").no
    dataset = world.submit("anna")
    world.authority.remove_user("anna")
    world.authority._askers = (0, {})
    with pytest.raises(Unauthorised):
        world.who("anna")
    world.authority.save_user("anna")
    world.token("anew", "anna")
    assert world.who("anew").no == no
    assert world.authority.dataset(dataset)["owner"] == "anna"


def test_somebody_is_always_left_who_may_change_users(world: World) -> None:
    with pytest.raises(UserRefused, match="nobody else"):
        world.authority.remove_user("admin")
    with pytest.raises(UserRefused, match="nobody else"):
        world.authority.save_user("admin", role="user")
    world.authority.save_user("second", role="admin")
    world.authority.save_user("admin", role="user")
    for name, role, site in (("operator", "user", None), ("s", "site", None), ("u", "user", "x")):
        with pytest.raises(UserRefused):
            world.authority.save_user(name, role=role, site=site)


def test_open_tasks_are_counted_against_what_is_allowed(world: World) -> None:
    world.person("anna", "user")
    tasks = chain(3).tasks()
    world.authority.save_user("anna", limits={"tasks_open": 2 * tasks})
    first = world.submit("anna")
    world.submit("anna")
    with pytest.raises(QuotaExceeded, match=f"{tasks} tasks, and 0 of"):
        world.submit("anna")
    assert world.authority.used("anna")["used"]["tasks_open"] == 2 * tasks
    key = {"idempotency_key": "cancel", "token_id": 1}
    world.authority.control(first, ControlWord.CANCEL, None, None, **key)
    world.submit("anna")  # what is cancelled is open no more
    world.submit("")  # and others are not held up
    assert len(world.authority.datasets()) == 4


def test_a_repeated_submission_is_answered_though_the_quota_is_used_up(world: World) -> None:
    world.person("anna", "user")
    world.authority.save_user("anna", limits={"tasks_open": chain(3).tasks()})
    anna, raw = world.who("anna"), spec.encode(chain(3))
    made = [
        world.authority.submit(raw, idempotency_key="once", token_id=anna.no, by=anna).id
        for _ in range(2)
    ]
    assert made[0] == made[1]
    submitted = [
        one
        for one in world.authority.audit(None, 100, person="anna", resource=None)["audit"]
        if one["action"] == "dataset.submit"
    ]
    assert len(submitted) == 1


def test_nobody_charges_others_or_shares_with_groups_of_others(world: World) -> None:
    world.person("anna", "user", "nu")
    anna = world.who("anna")
    dataset = world.submit("anna", visibility="group", group="nu")
    with pytest.raises(AccessRefused, match="group mu"):
        world.authority.share(dataset, anna, group="mu")
    with pytest.raises(AccessRefused, match="needs a group"):
        world.authority.share(dataset, anna, group="")
    with pytest.raises(UserRefused):
        world.authority.share(dataset, anna, owner="nobody-there")
    with pytest.raises(AccessRefused):
        world.submit("anna", visibility="group", group="mu")
    from dataclasses import replace

    for account in ({"user": "bela"}, {"group": "mu"}):
        charged = replace(chain(1), account=replace(chain(1).account, **account))
        with pytest.raises(AccessRefused, match="charges"):
            world.authority.submit(
                spec.encode(charged), idempotency_key="k", token_id=anna.no, by=anna
            )


def test_a_dataset_given_away_is_the_others(world: World) -> None:
    world.person("anna", "user")
    world.person("bela", "user")
    dataset = world.submit("anna")

    async def script(ask: Ask) -> None:
        path = f"/v1/datasets/{dataset}"
        assert (await ask("bela", "GET", path)).status == 404
        given = await ask("anna", "PATCH", f"{path}/access", {"owner": "bela"})
        assert given.json == {"owner": "bela", "group": None, "visibility": "private"}
        assert (await ask("bela", "GET", path)).json["owner"] == "bela"
        assert (await ask("anna", "GET", path)).code == "unknown-dataset"
        own = await ask("bela", "GET", f"/v1/audit?resource={dataset}")
        assert [one["action"] for one in own.json["audit"]] == ["dataset.share", "dataset.submit"]
        assert [one["user"] for one in own.json["audit"]] == ["anna", "anna"]
        hidden = await ask("anna", "GET", f"/v1/audit?resource={dataset}")
        assert (hidden.status, hidden.code) == (404, "unknown-dataset")
        assert (await ask("anna", "GET", "/v1/audit?user=bela")).status == 403

    world.asking(script)


def test_who_asks_too_often_is_told_when_to_come_back(world: World) -> None:
    world.person("anna", "user")
    world.authority.save_user("anna", limits={"requests_per_minute": 3})

    async def script(ask: Ask) -> None:
        for _ in range(3):
            assert (await ask("anna", "GET", "/v1/datasets")).status == 200
        refused = await ask("anna", "GET", "/v1/datasets")
        assert (refused.status, refused.code) == (429, "too-many-requests")
        assert int(refused.headers["Retry-After"]) >= 20
        assert (await ask("admin", "GET", "/v1/datasets")).status == 200

    world.asking(script)


def test_a_catalogue_is_searched_and_shows_what_may_be_seen(world: World) -> None:
    world.person("anna", "user", "nu")
    world.person("bela", "user", "nu")
    mine, groups = world.submit("anna"), world.submit("anna", visibility="group", group="nu")
    public = world.submit("", visibility="public")
    assert world.authority.datasets(world.who("bela")) != []

    async def script(ask: Ask) -> None:
        async def ids(who: str, query: str = "") -> set[str]:
            answer = await ask(who, "GET", f"/v1/datasets{query}")
            assert answer.status == 200, answer.body
            return {one["id"] for one in answer.json["datasets"]}

        assert await ids("anna") == {mine, groups, public}
        assert await ids("bela") == {groups, public}
        assert await ids("admin") == {mine, groups, public}
        assert await ids("anna", "?q=CHAIN+anna") == {mine, groups}
        assert await ids("anna", "?q=chain+bela") == set()
        assert await ids("anna", "?visibility=group") == {groups}
        assert await ids("bela", "?owner=anna&group=nu") == {groups}

    world.asking(script)


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_a_rebuild_knows_whose_datasets_are_and_who_sees_them(
    world: World, tmp_path: Path, seed: int | None
) -> None:
    world.person("anna", "user", "nu")
    world.person("bela", "user", "nu")
    groups, given = world.submit("anna", visibility="group", group="nu"), world.submit("anna")
    raw = spec.encode(chain(2))
    nobodys = world.authority.submit(raw, idempotency_key="k", token_id=0).id
    anna, bela = world.who("anna"), world.who("bela")
    for visibility in (Visibility.PUBLIC, Visibility.PRIVATE):
        world.authority.share(given, anna, visibility=visibility)
    world.authority.share(given, anna, owner="bela")
    world.authority.share(given, bela, visibility=Visibility.PUBLIC)
    home = replace(world.site.home, root=tmp_path / "fresh")
    made = rebuild(
        home, world.site.home.archive, world.site.home.trust, shuffle=seed, repeat=1 + bool(seed)
    )
    assert made["ok"], made["problems"]
    store = open_store(Config(), home)
    try:
        known = store.people.accesses()
        assert known == world.authority._w.store.people.accesses()
        assert {row[:4] for row in known.values()} == {
            (groups, "anna", "nu", "group"),
            (given, "bela", "", "public"),
        }
        assert store.people.access(nobodys) is None
    finally:
        store.close()


def test_what_a_lost_answer_left_without_an_owner_is_claimed_by_the_repetition(
    world: World,
) -> None:
    world.person("anna", "user")
    dataset = world.submit("anna")
    path = world.site.home.database
    with sqlite3.connect(path) as database:  # as where a lease alone told of it
        database.execute("DELETE FROM access")
    database.close()
    assert world.authority.dataset(dataset)["owner"] is None
    anna = world.who("anna")
    store = world.authority._w.store
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT key FROM remembered WHERE token = ?", (anna.no,))
        (key,) = rows.fetchone()
    database.close()
    raw = spec.encode(chain(3))
    again = world.authority.submit(raw, idempotency_key=key, token_id=anna.no, by=anna)
    assert again.id == dataset
    assert store.people.access(dataset) is not None
    assert world.authority.dataset(dataset)["owner"] == "anna"
