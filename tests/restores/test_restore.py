"""Restores, one thing at a time, with a real central and real relays."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay import stream as streams
from tests.restores.world import Site, World

pytestmark = pytest.mark.sweeps


def with_work(world: World) -> Site:
    """A site with work that the only backup knows nothing of."""
    north = world.add_site("north")
    world.submit(20)
    world.backup()
    for _ in range(2):
        world.tick(north)
    return north


def later_results_rest_on_lost_ones(world: World) -> None:
    """What introduced the lease was safe on the disk that died; what refers to it was not sent."""
    north = with_work(world)
    world.run_pilot(north, 1)
    for _ in range(2):
        world.tick(north)
    gone = set(world.counted())
    assert gone
    world.run_pilot(north, 1)
    world.cut = 1.0
    world.tick(north)  # packed, not sent
    world.cut = 0.0
    world.lose_central()
    world.restore()
    world.quiet()
    world.check(gone=gone)


def merged_by_the_old_central_in_a_stream_that_ended(world: World) -> None:
    """The restored central never heard of the stream, and nothing new comes in it."""
    north = with_work(world)
    world.run_pilot(north, 2)
    for _ in range(2):
        world.tick(north)
    streams.close(north.home.spool, streams.current(north.home.spool))
    world.lose_central()
    world.restore()
    assert not world.counted()
    world.quiet()
    world.check()


def test_results_that_rest_on_what_a_lost_disk_alone_held_are_merged_all_the_same(
    tmp_path: Path, other_device: Path
) -> None:
    later_results_rest_on_lost_ones(World(tmp_path, other_device, seed=21, copies=1))


def test_what_the_old_central_merged_in_a_stream_that_ended_is_sent_again(
    tmp_path: Path, other_device: Path
) -> None:
    merged_by_the_old_central_in_a_stream_that_ended(World(tmp_path, other_device, seed=22))


def test_the_disk_dies_and_what_came_since_the_backup_comes_again(
    tmp_path: Path, other_device: Path
) -> None:
    world = World(tmp_path, other_device, seed=1)
    north, south = world.add_site("north"), world.add_site("south")
    world.submit(30)
    for site in (north, south):
        world.tick(site)
        world.tick(site)
        world.run_pilot(site, 2)
        world.tick(site)
    world.backup()
    for site in (north, south):
        world.tick(site)
        world.run_pilot(site, 3)
        world.tick(site)
    forgotten = len(world.counted())
    world.lose_central()
    made = world.restore()
    assert set(made.waiting) == {"north", "south"}
    assert len(world.counted()) < forgotten
    world.quiet()
    world.check()
