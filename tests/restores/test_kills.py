"""SIGKILL at file operations of backup and restore: the old state or the new one, nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from central import backup as backups
from central import backup_record as records
from central.archive import open_archive
from central.backup import KEYS
from central.fsck import fsck
from central.home import Home
from central.restore import PART, restore
from tests.relay.test_crash import killed_at
from tests.restores.world import World

pytestmark = pytest.mark.programs

KILLS_MAX = 400
STEP = 7  # operations between two kills; a campaign takes them all


def with_results(world: World) -> None:
    north = world.add_site("north")
    world.submit(12)
    for _ in range(2):
        world.tick(north)
    world.run_pilot(north, 2)
    world.tick(north)


def whole(folder: Path) -> records.Record:
    """The backup is whole, to the last byte of the last bundle."""
    record = records.read(folder)
    for one in records.bundles(folder):
        path = records.pool_path(folder.parent / records.POOL, one.id)
        name = str(path.relative_to(folder.parent))
        records.check_file(folder.parent, name, one.size_bytes, one.sha256)
    return record


def sweep_backup(world: World, step: int) -> int:
    """Kill backups at every `step`-th operation; return how many were killed."""
    with_results(world)
    world.backup()
    world.run_pilot(world.alive()[0], 1)
    world.tick(world.alive()[0])
    world.central.close()

    def work() -> None:
        central = world.open()
        archive, at = open_archive(world.home, world.config), world.clock() / 1e6
        backups.backup(world.home, archive, central, world.backups, with_keys=True, keep=0, at=at)
        central.close()

    (old,) = records.finished(world.backups)
    kept, kills = (old / records.RECORD).read_bytes(), 0
    for number in range(1, KILLS_MAX, step):
        was_killed = killed_at(number, work)
        found = records.finished(world.backups)
        assert found[0] == old
        assert (old / records.RECORD).read_bytes() == kept
        bundles = [whole(one).bundles for one in found]
        assert bundles == sorted(bundles)
        if not was_killed:
            break
        kills += 1
    else:
        raise AssertionError("it never came to an end")
    assert not list(world.backups.glob(f"{records.PART}*"))
    world.central = world.open()
    world.quiet()
    world.check()
    return kills


def sweep_restore(world: World, step: int) -> int:
    """Kill restores at every `step`-th operation; return how many were killed."""
    with_results(world)
    world.backup()
    expected = world.check()["state_hash"]
    world.central.close()
    home, kills = Home(world.disk / "restored"), 0
    for number in range(1, KILLS_MAX, step):
        was_killed = killed_at(number, lambda: restore(world.backups, home))
        if home.root.exists():
            for name in KEYS[:3]:
                shutil.copy(world.keys / name, home.root / name)
            world.open(home).close()
            found = fsck(home)
            assert found["ok"], found["problems"]
            assert found["state_hash"] == expected
            shutil.rmtree(home.root)
        else:
            assert was_killed
        if not was_killed:
            break
        kills += 1
    else:
        raise AssertionError("it never came to an end")
    assert not list(world.disk.glob(f"{PART}*"))
    whole(records.find(world.backups))  # it was read, never changed
    world.central = world.open()
    return kills


def test_a_backup_that_is_killed_leaves_the_ones_before_and_counts_only_when_whole(
    tmp_path: Path, other_device: Path
) -> None:
    assert sweep_backup(World(tmp_path, other_device, seed=4), STEP) >= 5


def test_a_restore_that_is_killed_leaves_nothing_or_a_whole_central(
    tmp_path: Path, other_device: Path
) -> None:
    assert sweep_restore(World(tmp_path, other_device, seed=5), STEP) >= 5


@pytest.mark.campaign
def test_kills_at_every_operation(tmp_path: Path, other_device: Path) -> None:
    for name, sweep in (("backup", sweep_backup), ("restore", sweep_restore)):
        disk, other = tmp_path / name, other_device / name
        disk.mkdir()
        other.mkdir()
        kills = sweep(World(disk, other, seed=6), 1)
        print(f"{name}: {kills} kills")
        assert kills > 30
