"""When a bundle is safe: enough devices, or a finished backup on another one. Not before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bundle.errors import PulkError
from central import backup_record as records
from central.archive import Archive, bundle_files
from central.backup_record import BackupDamaged, NoBackup
from central.blob.folder import FolderBlobs
from central.home import AlreadyMade, Home
from central.restore import restore
from tests.restores.world import Site, World

pytestmark = pytest.mark.sweeps


@pytest.fixture
def world(tmp_path: Path, other_device: Path) -> World:
    return World(tmp_path, other_device, seed=7)


def with_results(world: World) -> Site:
    north = world.add_site("north")
    world.submit(10)
    for _ in range(2):
        world.tick(north)
    world.run_pilot(north, 1)
    for _ in range(3):
        world.tick(north)
    return north


def kept(site: Site) -> list[Path]:
    """The results that the site may not delete yet."""
    spool = site.home.spool
    return [path for place in ("out", "sent") for path in spool.folder(place).iterdir()]


def test_two_copies_are_reached_by_a_backup_and_then_the_site_may_delete(world: World) -> None:
    north = with_results(world)
    assert kept(north)
    made = world.backup()
    assert made.apart
    assert made.covered > 0
    for _ in range(2):
        world.tick(north)
    assert not [path for path in kept(north) if path.stat().st_size > 2000]
    again = world.backup()
    assert again.copied < again.record.bundles  # what lies in the pool is not copied again


def test_a_backup_on_the_archives_own_device_makes_nothing_safe(world: World) -> None:
    north = with_results(world)
    world.backups = world.disk / "same"
    made = world.backup()
    assert (made.apart, made.covered) == (False, 0)
    for _ in range(2):
        world.tick(north)
    assert kept(north)
    world.lose_central()
    world.restore()  # yet it is a backup
    world.quiet_without_safety()


def test_a_mirror_on_another_device_makes_it_safe_at_once(
    tmp_path: Path, other_device: Path
) -> None:
    mirror = other_device / "mirror"
    mirror.mkdir()
    world = World(tmp_path, other_device, seed=8, more=f'mirrors = ["{mirror}"]')
    north = with_results(world)
    assert not [path for path in kept(north) if path.stat().st_size > 2000]
    names = {path.name for path in bundle_files(world.home.archive)}
    assert {path.name for path in bundle_files(mirror)} == names
    world.backup()
    world.run_pilot(north, 1)
    for _ in range(3):
        world.tick(north)
    world.lose_central()
    made = world.restore(archives=(mirror,))
    assert made.learned > 0
    world.quiet()
    world.check()


def test_a_mirror_that_is_away_delays_safety_and_nothing_else(
    tmp_path: Path, other_device: Path
) -> None:
    mirror, away = other_device / "mirror", other_device / "away"
    mirror.mkdir()
    world = World(tmp_path, other_device, seed=9, more=f'mirrors = ["{mirror}"]')
    mirror.rename(away)
    north = with_results(world)
    assert kept(north)
    assert len(world.counted()) > 0  # it is merged all the same
    assert not mirror.exists()  # nothing is written where no disk is mounted
    away.rename(mirror)
    world.clock.pass_hours(0.1)
    for _ in range(3):
        world.tick(north)
    assert not [path for path in kept(north) if path.stat().st_size > 2000]
    assert not world.central._w.store.bundles.unsafe()


def test_a_mirror_on_the_same_device_is_no_second_copy(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("archive", "mirror")]
    for place in places:
        place.mkdir()
    archive = Archive(places[0], 2, mirrors=[FolderBlobs(places[1])])
    assert not archive.is_safe
    source = tmp_path / "source"
    source.write_bytes(b"bytes")
    assert not archive.put(source, records.BundleId("a" * 64))
    assert Archive(places[0], 1, mirrors=[FolderBlobs(places[1])]).is_safe


def test_a_damaged_backup_is_refused_and_an_older_one_loses_nothing(world: World) -> None:
    with_results(world)
    old = world.backup()
    newer = world.backup()
    database = newer.folder / records.DATABASE
    database.chmod(0o600)
    raw = bytearray(database.read_bytes())
    raw[5000] ^= 1
    database.write_bytes(raw)
    world.lose_central()
    with pytest.raises(BackupDamaged):
        world.restore()
    assert not world.home.root.exists()
    world.restore(old.folder)
    world.quiet()
    world.check()


@pytest.mark.parametrize("what", ["bundle", "record", "list", "half a list"])
def test_whatever_is_damaged_or_missing_is_named(world: World, what: str) -> None:
    with_results(world)
    folder = world.backup().folder
    bundle = next(bundle_files(world.backups / records.POOL))
    target = {
        "bundle": bundle,
        "record": folder / records.RECORD,
        "list": folder / records.BUNDLES,
        "half a list": folder / records.BUNDLES,
    }[what]
    target.chmod(0o600)
    if what == "half a list":
        target.write_bytes(target.read_bytes()[:70])
    else:
        target.unlink()
    with pytest.raises((BackupDamaged, NoBackup)) as caught:
        restore(folder, Home(world.disk / "new"))
    assert isinstance(caught.value, PulkError)
    assert not (world.disk / "new").exists()


def test_a_restore_replaces_nothing(world: World) -> None:
    with_results(world)
    world.backup()
    with pytest.raises(AlreadyMade):
        restore(world.backups, world.home)


def test_without_keys_it_holds_no_secret_and_with_them_it_serves_at_once(world: World) -> None:
    with_results(world)
    secrets = [(world.home.root / name).read_bytes() for name in ("central.key", "admin.token")]
    plain = world.backup().folder
    for path in plain.rglob("*"):
        raw = path.read_bytes() if path.is_file() else b""
        assert not [one for one in secrets if one.strip() in raw]
    made = restore(plain, Home(world.disk / "plain"), clock_us=world.clock)
    assert made.missing_keys == ("central.key", "registrar.key")
    full = world.backup(with_keys=True).folder
    home = Home(world.disk / "full")
    assert restore(full, home, clock_us=world.clock).missing_keys == ()
    central = world.open(home)
    assert central.token(home.token.read_text().strip())
    central.close()


def test_a_token_made_by_a_restore_without_keys_opens_the_door(world: World) -> None:
    with_results(world)
    world.backup()
    world.lose_central()
    world.restore()
    assert world.central.token(world.home.token.read_text().strip())


def test_only_so_many_backups_stay_and_their_bundles_stay_all(world: World) -> None:
    with_results(world)
    for _ in range(4):
        made = world.backup(keep=2)
    assert made.removed == 1
    left = records.finished(world.backups)
    assert len(left) == 2
    assert left[-1] == made.folder
    record = json.loads((made.folder / records.RECORD).read_text())
    assert record["bundles"] == len(list(bundle_files(world.backups / records.POOL)))


def test_what_the_pool_has_and_an_old_backup_does_not_list_is_merged(world: World) -> None:
    north = with_results(world)
    old = world.backup()
    world.run_pilot(north, 1)
    for _ in range(2):
        world.tick(north)
    world.backup()
    for _ in range(3):
        world.tick(north)  # safe: deleted at the site
    done = set(world.counted())
    world.lose_central()
    made = world.restore(old.folder)
    assert made.learned > 0
    assert set(world.counted()) >= done
    shutil.rmtree(world.disk / "lost-0")
    world.quiet()
    world.check()
