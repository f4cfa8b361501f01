"""`pulk why` of a restored central: it says what central waits for, and how to end that."""

from __future__ import annotations

from pathlib import Path

from bundle.ids import DatasetId, SiteName, Task
from tests.restores.world import World


def test_while_central_recovers_that_is_the_reason(tmp_path: Path, other_device: Path) -> None:
    world = World(tmp_path, other_device, seed=2)
    north, south = world.add_site("north"), world.add_site("south")
    dataset = DatasetId(world.submit(60))
    for site in (north, south):
        world.central.outbox(site.name)
    world.backup()
    world.tick(north)
    world.lose_central()
    world.restore()
    first = world.central.why(Task(dataset, 59, 0))["because"][0]
    assert (first["code"], first["has"]) == ("recovering", "north, south")
    assert "presume-lost" in first["remedy"]
    for name in ("north", "south"):
        world.central.presume_lost(SiteName(name))
    assert world.central.why(Task(dataset, 59, 0))["reason"] != "recovering"
