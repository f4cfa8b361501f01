"""Central with its archive in S3: the loop, the bounded cache, a backup, a restore."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from bundle.ids import BundleId
from central.archive import Archive, bundle_files, open_archive
from central.blob.contract import BlobTrouble
from central.blob.s3 import S3Blobs
from tests.restores.world import World, other_device

__all__ = ["other_device"]

pytestmark = pytest.mark.programs
CACHE_BYTES = 6000  # two or three bundles


@pytest.fixture
def world(tmp_path: Path, other_device: Path, s3_bucket: str, s3_server: str) -> World:
    more = f'url = "{s3_bucket}"\nendpoint = "{s3_server}"\ncache_bytes_max = {CACHE_BYTES}'
    return World(tmp_path, other_device, seed=11, copies=1, more=more)


def test_the_loop_runs_with_a_cache_that_holds_a_few_bundles(
    world: World, s3_bucket: str, s3_server: str
) -> None:
    world.add_site("north")
    world.submit(20)
    world.quiet()
    found = world.check()
    assert found["ok"]
    in_s3 = list(S3Blobs(s3_bucket, endpoint=s3_server).names())
    assert len(in_s3) == len(list(open_archive(world.home, world.config).ids())) >= 4
    cached = list(bundle_files(world.home.archive))
    assert sum(path.stat().st_size for path in cached) <= CACHE_BYTES + 4000
    assert len(cached) < len(in_s3)


def test_an_empty_cache_is_filled_again_from_s3(world: World) -> None:
    north = world.add_site("north")
    world.submit(6)
    for _ in range(2):
        world.tick(north)
    world.run_pilot(north, 5)
    world.tick(north)
    world.central.close()
    shutil.rmtree(world.home.archive)
    world.central = world.open()
    world.quiet()
    world.check()


def test_the_disk_dies_and_s3_has_everything_since_the_backup(world: World) -> None:
    north = world.add_site("north")
    world.submit(12)
    world.backup()
    for _ in range(2):
        world.tick(north)
    world.run_pilot(north, 5)
    for _ in range(3):
        world.tick(north)  # safe in S3: deleted at the site
    done = set(world.counted())
    world.lose_central()
    assert world.restore().learned > 0
    assert set(world.counted()) == done
    world.quiet()
    world.check()


def test_what_s3_did_not_take_is_not_merged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    north = world.add_site("north")
    world.submit(5)
    for _ in range(2):
        world.tick(north)
    world.run_pilot(north, 1)
    before = len(world.counted())

    def cut_off(*_: object) -> None:
        raise BlobTrouble(where="s3", action="writing", name="x", reason="cut off")

    with monkeypatch.context() as patch:
        patch.setattr(S3Blobs, "put", cut_off)
        with pytest.raises(BlobTrouble):
            world.tick(north)
    assert len(world.counted()) == before
    world.quiet()
    world.check()


def test_the_cache_keeps_what_was_asked_for_last(
    tmp_path: Path, s3_bucket: str, s3_server: str
) -> None:
    remote = S3Blobs(s3_bucket, endpoint=s3_server)
    archive = Archive(tmp_path / "cache", 1, remote=remote, cache_bytes_max=2500)
    ids = [BundleId(f"{number:064x}") for number in range(4)]
    for one in ids:
        source = tmp_path / one
        source.write_bytes(os.urandom(1000))
        assert archive.put(source, one)
        source.unlink()
    assert {path.stem for path in bundle_files(archive.root)} == set(ids[2:])
    assert archive.path(ids[0]).stat().st_size == 1000
    assert {path.stem for path in bundle_files(archive.root)} == {ids[0], ids[3]}
    assert sorted(archive.ids()) == ids
    archive.take_back(ids[0])
    assert not archive.has(ids[0])
    assert not archive.path(ids[0]).exists()
