"""`pulk relay doctor --rebuild`: a relay's memory, made again from what lies in its spool."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from click.testing import CliRunner

from bundle.wire.manifest import Kind
from relay import custody, state, stream, works
from relay.cli import group
from relay.exchange import export_to
from relay.rebuild import Rebuilt, rebuild
from relay.tick import tick
from tests.relay.world import World


def worked(world: World) -> None:
    """Two shards of a work bundle are done, their results wait to be sent."""
    world.deliver(world.pack(world.lease(0, [0, 1]), world.lease(1, [2])))
    tick(world.home)
    world.pilot().work_through()
    tick(world.home)


def forget(world: World, *folders: str) -> None:
    for name in folders:
        shutil.rmtree(world.spool.root / name)
        (world.spool.root / name).mkdir()


def results(world: World) -> set[str]:
    return {one.id for one in custody.every_held(world.spool) if one.kind is Kind.RESULT}


def test_bundles_whose_numbers_are_lost_leave_all_the_same(world: World, tmp_path: Path) -> None:
    worked(world)
    before = results(world)
    assert before
    forget(world, "streams", "state")
    assert not results(world), "they would never have been sent"
    assert rebuild(world.home).numbers >= len(before)
    assert results(world) == before
    stick = tmp_path / "stick"
    stick.mkdir()
    export_to(world.home, stick)
    arrived = world.results(stick.glob("*.pulk"))
    assert {one.id for one in arrived} == before
    world.deliver(world.pack(receipts=world.receipts(*arrived)))
    tick(world.home)
    assert not results(world), "they are safe"


def test_new_bundles_are_numbered_in_a_stream_of_their_own(world: World) -> None:
    worked(world)
    old = stream.current(world.spool)
    forget(world, "streams")
    rebuild(world.home)
    assert stream.current(world.spool) != old
    assert old in stream.every(world.spool)


def test_what_central_said_is_heard_again(world: World) -> None:
    worked(world)
    forget(world, "state")
    assert state.read_central(world.spool).commit == 0 and not state.read_received(world.spool)
    assert rebuild(world.home).heard == 1
    assert state.read_received(world.spool)
    (work,) = works.ids(world.spool)
    assert state.is_seen(world.spool, work)


def test_lost_shards_are_offered_again_and_ended_ones_are_not(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0]), world.lease(1, [1])))
    tick(world.home)
    pilot = world.pilot()
    assert pilot.work_one()
    tick(world.home)
    (work,) = works.ids(world.spool)
    shutil.rmtree(world.spool.work(work) / "ended")
    forget(world, "claimable")
    again = rebuild(world.home)
    assert (again.ended, again.shards) == (1, 1)
    tick(world.home)
    assert len(world.out("claimable")) == 1


def test_a_second_time_nothing_is_left_to_make(world: World) -> None:
    worked(world)
    forget(world, "streams", "state")
    rebuild(world.home)
    assert rebuild(world.home) == Rebuilt()


def test_a_relay_that_lacks_nothing_is_left_as_it_is(world: World) -> None:
    worked(world)
    tree = {path: path.stat().st_ino for path in world.spool.root.rglob("*") if path.is_file()}
    assert rebuild(world.home) == Rebuilt()
    assert {p: p.stat().st_ino for p in world.spool.root.rglob("*") if p.is_file()} == tree


def test_what_cannot_be_read_is_told_and_left(world: World) -> None:
    worked(world)
    forget(world, "streams")
    path = world.spool.folder("out") / f"{7:08d}-{'a' * 64}.pulk"
    path.write_bytes(b"not a bundle")
    done = CliRunner().invoke(group, ["doctor", str(world.home.folder), "--rebuild", "--json"])
    assert done.exception is None
    assert json.loads(done.stdout)["unreadable"] == [path.name]
    assert path.exists()
