"""A central that was set back without knowing, and two centrals with one key."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bundle.records import head as heads
from bundle.records.head import Head, HeadRefused
from bundle.trust.keys import MemoryKey
from central.authority import Authority
from central.errors import SetBack
from central.home import Home
from central.restore import restore, take_over
from relay import chains
from relay.status import status
from tests.restores.world import Site, World

pytestmark = pytest.mark.sweeps


@pytest.fixture
def world(tmp_path: Path, other_device: Path) -> World:
    return World(tmp_path, other_device, seed=3)


def snapshot(world: World) -> Path:
    """The machine's disk as it is, the archive included: what a VM snapshot keeps."""
    world.central.close()
    aside = world.disk / "snapshot"
    shutil.copytree(world.home.root, aside)
    world.central = world.open()
    return aside


def set_back(world: World, aside: Path) -> None:
    """The machine goes back to its snapshot; nobody tells central."""
    world.central.close()
    shutil.rmtree(world.home.root)
    aside.rename(world.home.root)
    world.central = world.open()


def at_work(world: World) -> Site:
    north = world.add_site("north")
    world.submit(20)
    for _ in range(2):
        world.tick(north)
    return north


def move_on(world: World, site: Site) -> None:
    world.run_pilot(site, 2)
    for _ in range(3):
        world.tick(site)


def test_a_central_that_was_set_back_notices_says_nothing_and_loses_nothing(world: World) -> None:
    north = at_work(world)
    aside = snapshot(world)
    move_on(world, north)
    done = len(world.counted())
    set_back(world, aside)
    assert len(world.counted()) < done
    world.tick(north)
    assert world.central.health()["set_back"]
    assert world.central.outbox(north.name) == []
    with pytest.raises(SetBack):
        world.submit(3)
    with pytest.raises(SetBack):
        world.central.pack(north.name, 5)
    before = len(world.counted())
    world.run_pilot(north, 1)
    world.tick(north)
    assert len(world.counted()) > before  # it still merges
    world.central.close()
    epoch = take_over(world.home, world.clock)
    world.central = world.open()
    assert world.central.health()["epoch"] == epoch
    assert not world.central.health()["set_back"]
    world.quiet()
    world.check()
    assert len(world.counted()) == 20


@pytest.mark.parametrize("more", [0, 1, 3])
def test_a_central_that_went_past_what_it_had_said_before_it_was_set_back_notices(
    world: World, more: int
) -> None:
    goes_past_what_it_had_said(world, more)


def goes_past_what_it_had_said(world: World, more: int) -> None:
    """A silent set-back; the commits' numbers pass the head before its site comes back."""
    north, south = at_work(world), world.add_site("south")
    aside = snapshot(world)
    move_on(world, north)
    said = world.central.health()["commit"]
    set_back(world, aside)
    while world.central.health()["commit"] < said + more:
        world.submit(1)
        world.tick(south)
    assert not world.central.health()["set_back"]
    world.tick(north)
    assert world.central.health()["set_back"]
    world.central.close()
    take_over(world.home, world.clock)
    world.central = world.open()
    world.quiet()
    world.check()


def test_a_silent_set_back_does_not_wake_up_by_a_restart(world: World) -> None:
    north = at_work(world)
    aside = snapshot(world)
    move_on(world, north)
    set_back(world, aside)
    world.tick(north)
    world.reopen()
    assert world.central.health()["set_back"]


def test_a_site_refuses_a_number_said_twice_until_a_later_epoch(world: World) -> None:
    north = at_work(world)
    aside = snapshot(world)
    move_on(world, north)
    set_back(world, aside)
    world.submit(9)  # the number of a commit, and then of a bundle, is used again
    forged = world.central.pack(north.name, 3)
    assert forged is not None
    path = world.central.outgoing(north.name, forged.id)
    target = north.home.spool.folder("in") / f"{forged.id}.pulk"
    shutil.copyfile(path, target)
    world.cut = 1.0  # it hears this alone
    done = world.tick(north)
    assert done.refused == 1
    assert target.exists()  # kept for whoever decides
    assert status(north.home)["central"]["forked"]
    world.cut = 0.0
    world.tick(north)
    world.central.close()
    take_over(world.home, world.clock)
    world.central = world.open()
    world.quiet()
    world.check()
    assert not status(north.home)["central"]["forked"]
    assert not target.exists()


def twin(world: World) -> Authority:
    """A second central out of the same backup, run beside the first."""
    home = Home(world.disk / "twin")
    world.clock.now_us -= world.clock.now_us % 1_000_000  # in the same second: the same number
    restore(world.backups, home, clock_us=world.clock)
    for name in ("central.key", "registrar.key"):
        shutil.copy(world.keys / name, home.root / name)
    return world.open(home)


def test_a_central_that_was_replaced_stops_when_a_site_heard_its_successor(world: World) -> None:
    north = at_work(world)
    world.backup()
    old, world.central = world.central, twin(world)
    for _ in range(3):
        world.tick(north)  # it hears the successor
    successor, world.central = world.central, old
    world.tick(north)
    assert old.health()["set_back"]
    assert old.outbox(north.name) == []
    old.close()
    world.central = successor
    assert not successor.health()["set_back"]


def test_of_two_centrals_restored_at_once_a_site_takes_neither_until_told(world: World) -> None:
    north = at_work(world)
    world.backup()
    world.central.close()
    first = twin(world)
    shutil.move(world.disk / "twin", world.disk / "first")
    first.close()
    first = world.open(Home(world.disk / "first"))
    second = twin(world)
    assert first.health()["epoch"] == second.health()["epoch"]
    world.central = first
    for _ in range(3):
        world.tick(north)
    world.central = second
    (made,) = second.outbox(north.name)
    target = north.home.spool.folder("in") / f"{made.id}.pulk"
    shutil.copyfile(second.outgoing(north.name, made.id), target)
    world.cut = 1.0  # it hears this alone
    world.tick(north)
    assert len(status(north.home)["central"]["forked"]) == 2
    assert target.exists()
    world.cut = 0.0
    world.tick(north)
    assert second.health()["set_back"]  # the site told it of the first
    chains.heed(north.home.spool, chains.words(second._w.epoch))
    assert status(north.home)["central"]["forked"] == []
    world.cut = 1.0
    world.tick(north)
    assert not list(north.home.spool.folder("in").iterdir())  # taken now
    first.close()


def test_a_head_that_central_did_not_sign_says_nothing(world: World) -> None:
    north = at_work(world)
    w = world.central._w
    forged = heads.make(Head(w.epoch, 10**6), MemoryKey.generate())
    with pytest.raises(HeadRefused):
        heads.read(forged, w.trust.central_keys())
    (north.home.spool.folder("state") / "head").write_bytes(forged)
    world.tick(north)
    assert not world.central.health()["set_back"]
