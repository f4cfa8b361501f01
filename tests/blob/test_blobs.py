"""What every blob store keeps to: one suite for the folder and for a real S3 server."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from central.blob import s3
from central.blob.contract import BlobDamaged, BlobMissing, Blobs, BlobTrouble
from central.blob.folder import FolderBlobs
from central.blob.s3 import S3Blobs

NAME = "ab/abcdef.pulk"
STORES = ["folder", pytest.param("s3", marks=pytest.mark.programs)]


@pytest.fixture(params=STORES)
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "folder":
        root = tmp_path / "blobs"
        root.mkdir()
        return FolderBlobs(root)
    url, endpoint = request.getfixturevalue("s3_bucket"), request.getfixturevalue("s3_server")
    return S3Blobs(url, endpoint=endpoint)


def made(folder: Path, content: bytes) -> Path:
    path = folder / os.urandom(4).hex()
    path.write_bytes(content)
    return path


def test_what_is_put_comes_back_to_the_byte(blobs: Blobs, source: Path, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    assert blobs.size(NAME) is None
    blobs.put(made(source, content), NAME)
    assert blobs.size(NAME) == len(content)
    blobs.fetch(NAME, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    assert blobs.read(NAME, 0, 10) == content[:10]
    assert blobs.read(NAME, 1000, 5000) == content[1000:6000]
    assert blobs.read(NAME, len(content) - 3, 100) == content[-3:]
    assert blobs.read(NAME, len(content) + 5, 100) == b""


def test_an_empty_blob_is_a_blob(blobs: Blobs, source: Path, tmp_path: Path) -> None:
    blobs.put(made(source, b""), NAME)
    assert blobs.size(NAME) == 0
    blobs.fetch(NAME, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b""


def test_putting_again_changes_nothing_and_another_content_is_refused(
    blobs: Blobs, source: Path
) -> None:
    blobs.put(made(source, b"one"), NAME)
    blobs.put(made(source, b"one"), NAME)
    with pytest.raises(BlobDamaged):
        blobs.put(made(source, b"another"), NAME)
    assert blobs.read(NAME, 0, 100) == b"one"


def test_names_are_listed_sorted(blobs: Blobs, source: Path) -> None:
    names = ["00/b.pulk", "ff/a.pulk", "00/a.pulk"]
    assert list(blobs.names()) == []
    for name in names:
        blobs.put(made(source, name.encode()), name)
    assert list(blobs.names()) == sorted(names)


def test_what_is_removed_is_gone_and_removing_again_is_no_error(blobs: Blobs, source: Path) -> None:
    blobs.put(made(source, b"one"), NAME)
    blobs.remove(NAME)
    blobs.remove(NAME)
    assert blobs.size(NAME) is None
    assert list(blobs.names()) == []


def test_what_is_not_there_is_missing(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(BlobMissing):
        blobs.read(NAME, 0, 1)
    with pytest.raises(BlobMissing):
        blobs.fetch(NAME, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert not list(tmp_path.glob("*.part"))


def test_a_folder_that_is_not_mounted_takes_nothing(source: Path, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "mnt")
    with pytest.raises(BlobTrouble):
        blobs.put(made(source, b"one"), NAME)
    assert not (tmp_path / "mnt").exists()


@pytest.mark.programs
def test_a_large_object_goes_in_parts_and_comes_back_whole(
    s3_bucket: str, s3_server: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "PART_BYTES", 5 << 20)
    monkeypatch.setattr(s3, "PIECE_BYTES", 1 << 20)
    content = os.urandom((12 << 20) + 17)
    blobs = S3Blobs(s3_bucket, endpoint=s3_server)
    blobs.put(made(source, content), NAME)
    blobs.fetch(NAME, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    assert blobs.read(NAME, 6 << 20, 1000) == content[6 << 20 : (6 << 20) + 1000]


@pytest.mark.programs
def test_bytes_that_changed_on_the_way_to_s3_are_noticed(
    s3_bucket: str, s3_server: str, source: Path
) -> None:
    blobs = S3Blobs(s3_bucket, endpoint=s3_server)
    blobs.put(made(source, b"one"), NAME)
    with pytest.raises(BlobDamaged):
        blobs.put(made(source, b"two"), NAME)  # of the same size


@pytest.mark.programs
def test_an_s3_that_is_not_there_is_trouble_and_not_a_loss(
    s3_bucket: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "RETRIES", 1)
    monkeypatch.setattr(s3, "CONNECT_S", 1)
    blobs = S3Blobs(s3_bucket, endpoint="http://127.0.0.1:9")
    with pytest.raises(BlobTrouble) as caught:
        blobs.put(made(source, b"one"), NAME)
    assert caught.value.transient


@pytest.mark.programs
def test_a_bucket_that_is_not_there_is_trouble(
    s3_bucket: str, s3_server: str, source: Path
) -> None:
    assert s3_bucket
    blobs = S3Blobs("s3://nobodys-bucket/x", endpoint=s3_server)
    with pytest.raises(BlobTrouble):
        blobs.put(made(source, b"one"), NAME)


def test_a_disk_that_fails_in_the_middle_leaves_no_blob(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "blobs"
    root.mkdir()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def no_link(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    blobs = FolderBlobs(root)
    with pytest.raises(BlobTrouble):
        blobs.put(made(source, b"one"), NAME)
    assert blobs.size(NAME) is None
    assert list(blobs.names()) == []
