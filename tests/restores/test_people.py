"""Who may, after a rebuild from the archive and after the restore of an old backup."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle.trust.keys import MemoryKey
from central import archived_people, backup
from central.authority import Authority
from central.config import Config
from central.errors import SetBack, Unauthorised, UnknownDataset
from central.home import Home, now_us
from central.rebuild import rebuild
from central.restore import restore
from central.workings import BEYOND
from tests.rest.world import World, opened


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with opened(tmp_path) as made:
        made.person("anna", "user", "nu")
        made.person("bela", "production")
        made.token("short", "anna", ("read",), lifetime_s=3600)
        yield made


def rebuilt(world: World, folder: Path, seed: int | None = None, repeat: int = 1) -> Home:
    """Return the folder of a central made from the archive, with its keys put back."""
    home = replace(world.site.home, root=folder)
    old = world.site.home
    made = rebuild(home, old.archive, old.trust, shuffle=seed, repeat=repeat)
    assert made["ok"], made["problems"]
    for name in ("central.key", "registrar.key"):
        (home.root / name).write_bytes((old.root / name).read_bytes())
        (home.root / name).chmod(0o600)
    return home


def reopened(home: Home) -> Authority:
    return Authority.open(home, Config(), clock_us=now_us)


def people_of(authority: Authority) -> list[object]:
    """Return all that counts of people; what was made for a new folder's operator aside."""
    store = authority._w.store.people
    tokens = [one for one in store.tokens() if one.name != "first"]
    return [store.persons(), tokens, store.users()]


def test_after_a_rebuild_all_people_may_what_they_might_before(
    world: World, tmp_path: Path
) -> None:
    mine = world.submit("anna")
    world.authority.revoke_token(world.numbers["short"])
    world.person("gone", "user")
    world.authority.remove_user("gone")
    before = people_of(world.authority)
    home = rebuilt(world, tmp_path / "fresh")
    again = reopened(home)
    try:
        assert people_of(again) == before
        anna = again.who(world.tokens["anna"]).principal
        assert (anna.role, anna.groups, anna.no) == ("user", {"nu"}, world.who("anna").no)
        assert again.dataset(mine)["owner"] == "anna"
        assert [one["id"] for one in again.datasets(anna)] == [mine]
        assert again.datasets(again.who(world.tokens["bela"]).principal)  # production sees it
        for label in ("short", "gone"):
            with pytest.raises(Unauthorised):
                again.who(world.tokens[label])
        # who may write in the folder gets in by its token, the old administrator by the old one
        assert again.who(home.token.read_text().strip()).principal.role == "admin"
        assert again.who(world.tokens["admin"]).principal.role == "admin"
        again.save_user("new", role="user")
        made = again.make_token("new", "new", ["read"], None)
        assert made["no"] not in {one.no for one in before[1]}  # type: ignore[attr-defined]
    finally:
        again.close()


def test_a_private_dataset_is_private_after_a_rebuild(world: World, tmp_path: Path) -> None:
    mine = world.submit("anna")
    world.person("other", "user", "nu")
    again = reopened(rebuilt(world, tmp_path / "fresh"))
    try:
        other = again.who(world.tokens["other"]).principal
        assert again.datasets(other) == []
        with pytest.raises(UnknownDataset):
            again.share(mine, other, owner="other")
    finally:
        again.close()


@pytest.mark.sweeps
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32), repeat=st.integers(1, 2))
def test_in_whatever_order_commits_are_read_people_are_the_same(
    world: World, tmp_path: Path, seed: int, repeat: int
) -> None:
    key, other = (MemoryKey.generate().public for _ in range(2))
    if not world.authority._w.store.people.users():
        world.authority.save_user("anna", key=key, groups=["mu"], limits={"tasks_open": 7})
        world.authority.remove_user("anna")
        world.authority.save_user("anna", role="read-only", key=other)
        world.token("later", "anna", ("read",))
    fresh = tmp_path / f"fresh-{os.urandom(4).hex()}"
    again = reopened(rebuilt(world, fresh, seed, repeat))
    try:
        assert people_of(again) == people_of(world.authority)
    finally:
        again.close()


def test_what_was_revoked_since_a_backup_stays_so_where_the_archive_survived(
    world: World, tmp_path: Path
) -> None:
    to = tmp_path / "backup"
    archive = world.authority._w.archive
    backup.backup(world.site.home, archive, world.authority, to, with_keys=False, keep=0, at=1e9)
    world.authority.revoke_token(world.numbers["short"])
    world.authority.remove_user("bela")
    world.authority.save_user("anna", role="read-only")
    world.token("since", "anna", ("read",))
    home = Home(tmp_path / "restored")
    restore(to, home, archives=[world.site.home.archive])
    home.central_key.write_bytes(world.site.home.central_key.read_bytes())
    home.central_key.chmod(0o600)
    again = reopened(home)
    try:
        assert people_of(again) == people_of(world.authority)
        for label in ("short", "bela"):
            with pytest.raises(Unauthorised):
                again.who(world.tokens[label])
        assert again.who(world.tokens["since"]).principal.role == "read-only"
        # the token that the restore made for its operator is told of as well
        assert json.loads(again._w.store.people.meta(archived_people.UNTOLD) or b"") == []
    finally:
        again.close()


def test_a_central_that_may_not_speak_revokes_all_the_same_and_says_so_later(
    world: World, tmp_path: Path
) -> None:
    people = world.authority._w.store.people
    with world.authority._w.transaction():
        people.set_meta(BEYOND, b"beyond")
    with pytest.raises(SetBack):
        world.submit("anna")
    world.authority.revoke_token(world.numbers["short"])
    with pytest.raises(Unauthorised):
        world.authority._askers = (0, {})
        world.who("short")
    with world.authority._w.transaction():
        people.set_meta(BEYOND, b"")
    world.token("more", "bela", ("read",))  # the next word about anybody brings it
    again = reopened(rebuilt(world, tmp_path / "fresh"))
    try:
        assert people_of(again) == people_of(world.authority)
    finally:
        again.close()


def test_no_secret_and_no_address_is_in_the_archive(world: World) -> None:
    for path in world.site.home.archive.rglob("*.pulk"):
        raw = path.read_bytes()
        assert not any(text.encode() in raw for text in world.tokens.values()), path


def test_people_of_before_are_told_of_when_central_starts(tmp_path: Path) -> None:
    with opened(tmp_path) as world:
        world.authority._w.tell_people = None  # as it was before commits told of people
        world.person("anna", "user")
        before = people_of(world.authority)
        world.authority.close()
        world.authority = reopened(world.site.home)
        again = reopened(rebuilt(world, tmp_path / "fresh"))
        try:
            assert people_of(again) == before
        finally:
            again.close()
