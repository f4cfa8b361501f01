"""Backups and restores, one thing at a time, with a real central and real relays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.restores.world import World

pytestmark = pytest.mark.sweeps


@pytest.fixture
def world(tmp_path: Path, other_device: Path) -> World:
    return World(tmp_path, other_device, seed=1)


def test_the_disk_dies_and_what_came_since_the_backup_comes_again(world: World) -> None:
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
