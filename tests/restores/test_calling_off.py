"""What a backup lacks calls nothing off: leases made by it hold once it is said again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.dataset import spec
from bundle.ids import DatasetId
from bundle.intervals import IntervalSet
from central.core.controls import ControlWord
from central.core.edit import Size
from tests.relay.world import a_dataset
from tests.restores.world import Site, World

JOBS = 20
PLAIN = a_dataset(JOBS)
OTHER = replace(PLAIN, steps=(replace(PLAIN.steps[0], environment=(("A", "b"),)), *PLAIN.steps[1:]))


@pytest.fixture
def world(tmp_path: Path, other_device: Path) -> World:
    return World(tmp_path, other_device, seed=2)


def control(world: World, dataset: DatasetId, word: ControlWord, jobs: list[int]) -> None:
    chosen = IntervalSet.of(jobs)
    key = os.urandom(8).hex()
    world.central.control(dataset, word, chosen, None, idempotency_key=key, token_id=1)


def ticks(world: World, *sites: Site) -> None:
    for _ in range(4):
        for site in sites:
            world.tick(site)


def states(world: World) -> set[str]:
    """The states of all leases that central knows."""
    return {row.state for row in world.central._w.store.datasets.leases_by_no(range(1, 200))}


def test_an_extension_that_was_lost_ends_no_lease_of_its_jobs(world: World) -> None:
    north, south = world.add_site("north"), world.add_site("south")
    dataset = world.submit(4)
    ticks(world, north, south)
    control(world, dataset, ControlWord.RESET, [0])  # leases are looked at for what to call off
    ticks(world, north, south)
    for site in (north, south):
        world.run_pilot(site, 100)
    ticks(world, north, south)
    world.backup()
    world.central.resize(dataset, Size(jobs=JOBS), idempotency_key="more", token_id=1)
    ticks(world, north)
    world.lose_central()
    world.restore()
    ticks(world, north)
    assert world.central.health()["recovering"] is not None  # south was not heard yet
    assert "called-off" not in states(world)
    ticks(world, south, north)
    assert world.central.health()["recovering"] is None
    assert "called-off" not in states(world)
    world.central.resize(dataset, Size(jobs=JOBS), idempotency_key="again", token_id=1)
    assert world.run_pilot(north, 100) > 0
    ticks(world, north)
    assert world.central.counts(dataset)["steps"][0]["counts"]["done"] > 4


@pytest.mark.parametrize("when", ["during", "after"])
def test_an_edit_that_was_lost_ends_no_lease_of_its_document(world: World, when: str) -> None:
    north, south = world.add_site("north"), world.add_site("south")
    dataset = world.submit(JOBS)
    ticks(world, north, south)
    control(world, dataset, ControlWord.RESET, [0])
    world.backup()

    def edit() -> None:
        key = os.urandom(8).hex()
        world.central.edit(dataset, spec.encode(OTHER), idempotency_key=key, token_id=1)

    edit()
    ticks(world, north)
    world.lose_central()
    world.restore()
    ticks(world, north)
    if when == "during":
        edit()
    ticks(world, south, north)
    assert world.central.health()["recovering"] is None
    if when == "after":
        edit()
    assert "called-off" not in states(world)
    assert world.run_pilot(north, 100) > 0
    assert world.central.counts(dataset)["steps"][0]["counts"] == {"leased": JOBS}


def test_what_is_cancelled_while_central_still_learns_is_called_off(world: World) -> None:
    north, _south = world.add_site("north"), world.add_site("south")
    dataset = world.submit(JOBS)
    ticks(world, north)
    world.backup()
    world.lose_central()
    world.restore()
    ticks(world, north)
    assert world.central.health()["recovering"] is not None
    control(world, dataset, ControlWord.CANCEL, list(range(JOBS)))
    ticks(world, north)
    assert "called-off" in states(world)
