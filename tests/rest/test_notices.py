"""Who is told of what: who asked, and may see it; through a restart nobody is told twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bundle.ids import DatasetId
from central.config import Config, NotifySection
from central.errors import NotifyRefused, UnknownDataset
from central.home import now_us
from central.notices import look, queue, wishes
from central.store.rows import PersonRow
from tests.rest.world import Ask, World, opened, peopled

HOUR_US = 3_600_000_000
SILENCE = {"on": ["silence"], "silence_hours": 1.0}
CONFIG = Config(notify=NotifySection(webhook_hosts=("hooks.example.org",), smtp_host="mail"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """People of every kind, and a hook for each."""
    with peopled(tmp_path) as made:
        for name in ("owner", "member", "other", "petra"):
            about = {"webhook": f"https://hooks.example.org/{name}"}
            with made.authority._w.transaction():
                wishes.save_person(_with_hooks(made), name, about)
        yield made


def _with_hooks(world: World) -> look.Workings:
    workings = world.authority._w
    workings.config = CONFIG
    return workings


def looked(world: World, at_us: int) -> dict[str, set[DatasetId]]:
    """Look, note, and return who is told of what."""
    with world.authority._readers.workings() as (views, workings):
        found = look.look(views, workings, at_us)
    told: dict[str, set[DatasetId]] = {}
    for one in found.notices:
        told.setdefault(one.person, set()).add(DatasetId(one.dataset))
    look.note(world.authority._w, found, at_us)
    return told


def test_owners_are_told_of_their_own_and_others_of_what_they_asked_for_and_may_see(
    world: World,
) -> None:
    authority, datasets = world.authority, world.datasets
    with authority._w.transaction():
        wishes.save_person(authority._w, "owner", SILENCE)
    hidden = []
    for who in ("member", "other", "petra"):
        for name, dataset in datasets.items():
            try:
                authority.save_dataset_wishes(dataset, world.who(who), SILENCE)
            except UnknownDataset:
                hidden.append((who, name))
    assert hidden == [
        *(("member", "private"), ("member", "nobodys")),
        *(("other", "private"), ("other", "group"), ("other", "nobodys")),
    ]
    now = now_us()
    assert looked(world, now) == {}
    own = {datasets[name] for name in ("private", "group", "public")}
    assert looked(world, now + HOUR_US) == {
        "owner": own,
        "member": {datasets["group"], datasets["public"]},
        "other": {datasets["public"]},
        "petra": own | {datasets["nobodys"]},
    }
    assert looked(world, now + 2 * HOUR_US) == {}
    waiting = queue.read(authority._w.store)
    assert len(waiting) == len({one.id for one in waiting}) == 10


def test_who_lost_sight_of_a_dataset_or_is_gone_is_told_nothing(world: World) -> None:
    authority, public = world.authority, world.datasets["public"]
    for who in ("member", "other"):
        authority.save_dataset_wishes(public, world.who(who), SILENCE)
    now = now_us()
    looked(world, now)
    authority.remove_user("member")
    row = authority._w.store.people.access(public)
    assert row is not None
    with authority._w.transaction():
        authority._w.store.people.save_access(row._replace(visibility="private"))
    assert looked(world, now + HOUR_US) == {}
    members = [one for one in authority._w.store.people.persons() if one.name == "member"]
    assert all(isinstance(one, PersonRow) and one.closed_us for one in members)


def test_what_two_servers_saw_at_once_waits_once(world: World) -> None:
    world.authority.save_dataset_wishes(world.datasets["public"], world.who("other"), SILENCE)
    now = now_us()
    looked(world, now)
    found = []
    for _ in range(2):
        with world.authority._readers.workings() as (views, workings):
            found.append(look.look(views, workings, now + HOUR_US))
    for one in found:
        look.note(world.authority._w, one, now + HOUR_US)
    assert len(queue.read(world.authority._w.store)) == 1


def test_what_is_taken_is_nobody_elses_for_a_while_and_what_failed_comes_again_later(
    world: World,
) -> None:
    workings = world.authority._w
    world.authority.test_notice(world.who("other"))
    now = now_us()
    (one,) = queue.take(workings, now)
    assert queue.take(workings, now) == []
    later = now + int(queue.TAKEN_S * queue.SECOND_US)
    (again,) = queue.take(workings, later)  # whoever took it first died
    assert again.id == one.id
    times = {"first_s": 10.0, "keep_hours": 1.0}
    assert queue.settle(workings, [], [again], later, **times) == []
    assert queue.take(workings, later + 9_000_000) == []
    (third,) = queue.take(workings, later + 10_000_000)
    assert third.tries == 1
    given_up = queue.settle(workings, [], [third], later + HOUR_US, **times)
    assert [each.id for each in given_up] == [one.id]
    assert queue.read(workings.store) == []


def test_more_than_can_wait_drops_the_oldest_and_says_how_many(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "QUEUED_MAX", 3)
    for _ in range(5):
        world.authority.test_notice(world.who("other"))
    assert len(queue.read(world.authority._w.store)) == 3


def test_wishes_are_ones_own_and_what_is_not_allowed_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, CONFIG) as world:
        world.person("anna", "user")
        with pytest.raises(NotifyRefused):
            world.authority.save_wishes(world.who("anna"), {"webhook": "https://evil.example/"})
        made = world.authority.save_wishes(
            world.who("anna"), {"webhook": "https://hooks.example.org/x", "email": "a@b.example"}
        )
        assert len(made["secret"]) == 64

        async def script(ask: Ask) -> None:
            mine = await ask("anna", "GET", "/v1/me/notifications")
            assert mine.json["email"] == "a@b.example"
            assert "secret" not in mine.json
            others = await ask("admin", "GET", "/v1/me/notifications")
            assert others.json["email"] is None
            gone = await ask("anna", "PATCH", "/v1/me/notifications", {"webhook": ""})
            assert gone.json["webhook"] is None
            wrong = await ask("anna", "PATCH", "/v1/me/notifications", {"failure_rate": 2})
            assert wrong.code == "request-malformed"

        world.asking(script)
        audit = world.authority.audit(None, 100, person="anna", resource=None)["audit"]
        assert all("hooks.example.org" not in str(one["detail"]) for one in audit)
