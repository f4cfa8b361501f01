"""Files, links and pipes that somebody puts where a relay looks: none is followed or waited for."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundle.ids import PilotRun
from bundle.spool import publish
from relay import claims, quarantine
from relay.tick import tick
from tests.relay.world import World, make_world

TEN_GIB = 10 << 30


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    def hangs(*_: object) -> None:
        raise AssertionError("a tick waits for a pipe")

    signal.signal(signal.SIGALRM, hangs)
    signal.alarm(60)
    yield make_world(tmp_path / "w")
    signal.alarm(0)


def link(path: Path) -> None:
    path.symlink_to(path.parents[2] / "outside")


def pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


def endless(path: Path) -> None:
    path.touch(0o600)
    os.truncate(path, TEN_GIB)


def folder(path: Path) -> None:
    path.mkdir()


PLANTED = pytest.mark.parametrize("plant", [link, pipe, endless, folder])


@PLANTED
@pytest.mark.parametrize("place", ["in", "sealed"])
def test_what_is_planted_is_set_aside_and_the_rest_goes_on(
    world: World, plant: Callable[[Path], None], place: str
) -> None:
    outside = world.spool.root.parent / "outside"
    outside.write_bytes(b"not theirs")
    world.deliver(world.pack(world.lease(0, [0]), world.lease(1, [1])))
    tick(world.home)
    pilot = world.pilot()
    header = pilot.take()
    assert header is not None
    name = "planted.pulk" if place == "in" else world.spool.seal(pilot.name(header)).name
    plant(world.spool.folder(place) / name)
    done = tick(world.home)
    assert not done.trouble
    refused = [one.code for one in quarantine.every(world.spool)]
    assert len(refused) == 1
    assert outside.read_bytes() == b"not theirs"
    assert pilot.work_through() >= 1
    assert tick(world.home).collected >= 1


@PLANTED
def test_a_planted_claim_is_no_claim(world: World, plant: Callable[[Path], None]) -> None:
    run = PilotRun(b"planted!")
    publish.make_folder(world.spool.claimed(run))
    plant(world.spool.claim(run))
    assert claims.read(world.spool, run) is None
    tick(world.home)


def test_a_name_planted_in_quarantine_does_not_redirect_what_is_set_aside(world: World) -> None:
    outside = world.spool.root.parent / "outside"
    outside.write_bytes(b"not theirs")
    for name in ("x.pulk", "x.pulk.reason", "2.x.pulk.reason"):
        (world.spool.folder("quarantine") / name).symlink_to(outside)
    (world.spool.folder("in") / "x.pulk").write_bytes(b"no bundle")
    tick(world.home)
    assert outside.read_bytes() == b"not theirs"
    kept = [path for path in world.out("quarantine") if not path.is_symlink()]
    assert [path.read_bytes() for path in kept if not path.name.endswith("reason")] == [
        b"no bundle"
    ]
