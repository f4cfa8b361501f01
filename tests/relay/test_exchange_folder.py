"""A relay that exchanges through a folder: custody, what is removed there, trouble in status."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from relay import enrol
from relay.carrier import address
from relay.carrier.address import Scheme
from relay.config import load
from relay.core.custody import Place
from relay.errors import ConfigRefused
from relay.home import open_home
from relay.status import status
from relay.tick import tick
from tests.relay.world import World


@pytest.fixture
def folder(world: World, tmp_path: Path) -> Path:
    """An exchange folder that the site's relay.toml names."""
    made = tmp_path / "exchange"
    for side in ("to-central", "to-site"):
        (made / side).mkdir(parents=True)
    configure(world, f'[central]\nurl = "file://{made}"\n')
    return made


def configure(world: World, text: str) -> None:
    path = world.home.folder / "relay.toml"
    path.write_text(path.read_text() + text)
    world.home = open_home(world.home.folder)


def laid(folder: Path) -> list[Path]:
    return sorted((folder / "to-central").glob("*.pulk"))


def give(world: World, folder: Path, path: Path) -> None:
    shutil.move(path, folder / "to-site" / path.name)


def test_the_whole_loop_through_a_folder_leaves_nothing_there(world: World, folder: Path) -> None:
    give(world, folder, world.pack(world.lease(0, [0])))
    assert tick(world.home).accepted == 1
    world.pilot().work_through()
    assert tick(world.home).sent == 3  # the result, its telemetry, a report
    assert not list((folder / "to-site").iterdir())
    arrived = [world.read(path) for path in laid(folder)]
    assert len(world.results(laid(folder))) == 1
    assert [path.parent.name for path in world.out("out", "sent")] == ["sent"] * len(arrived)
    others = folder / "to-central" / f"{'a' * 64}.pulk"
    others.write_bytes(b"somebody else's")
    give(world, folder, world.pack(receipts=world.receipts(*arrived)))
    tick(world.home)
    tick(world.home)
    assert [path for path in laid(folder) if path.stem in {one.id for one in arrived}] == []
    assert others.exists()  # this relay did not lay it there
    assert not list((folder / "to-site").iterdir())


def test_a_copy_that_is_not_safe_stays_in_custody_whatever_becomes_of_the_folder(
    world: World, folder: Path
) -> None:
    give(world, folder, world.pack(world.lease(0, [0])))
    tick(world.home)
    world.pilot().work_through()
    tick(world.home)
    for path in laid(folder):
        path.unlink()  # somebody took it away, or lost it
    for _ in range(2):
        tick(world.home)
    assert len(world.results(world.out("sent"))) == 1


def test_a_folder_that_is_not_mounted_is_trouble_that_status_tells_and_nothing_is_lost(
    world: World, folder: Path
) -> None:
    give(world, folder, world.pack(world.lease(0, [0])))
    tick(world.home)
    world.pilot().work_through()
    away = folder.rename(folder.with_name("away"))
    done = tick(world.home)
    assert done.trouble.startswith("medium-failed")
    assert not folder.exists()
    told = status(world.home)["central"]["trouble"]
    assert (told["code"], told["failures"]) == ("medium-failed", 1)
    assert any(path.parent.name == Place.OUT for path in world.out("out", "sent"))
    away.rename(folder)
    assert not tick(world.home).trouble
    assert status(world.home)["central"]["trouble"] is None
    assert len(world.results(laid(folder))) == 1


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("https://central.example.org/pulk", Scheme.HTTP),
        ("http://127.0.0.1:7855", Scheme.HTTP),
        ("file:///scratch/you/exchange", Scheme.FILE),
        ("ssh://you@login.example.org:2222/scratch/you/exchange", Scheme.SSH),
    ],
)
def test_an_address_names_its_carrier(text: str, scheme: Scheme) -> None:
    assert address.parse(text).scheme is scheme


@pytest.mark.parametrize(
    "text",
    [
        "central.example.org", "ftp://x/y", "https://", "file://host/folder", "file:relative",
        "ssh:///folder", "ssh://-oProxyCommand=x/folder", "ssh://host/a b", "ssh://host/a;b",
        "ssh://host/a`b`", "ssh://-l@host/folder", "ssh://host/../*", "https://me:secret@host",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_when_the_file_is_read(world: World, text: str) -> None:
    path = world.home.folder / "relay.toml"
    path.write_text(path.read_text() + f'[central]\nurl = "{text}"\n')
    with pytest.raises(ConfigRefused, match=r"central\.url"):
        load(path)


@pytest.mark.parametrize("url", ["file:///scratch/x", "ssh://me@host/x", "https://host/x"])
def test_a_relay_is_made_for_every_kind_of_address(tmp_path: Path, url: str) -> None:
    enrol.init(tmp_path / "new", "north", url)
    assert load(tmp_path / "new" / "relay.toml").central.url == url


@pytest.mark.parametrize("url", ["ftp://host/x", 'file:///x"y', "https://host/a?b"])
def test_an_address_that_is_none_makes_no_relay(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigRefused):
        enrol.init(tmp_path / "new", "north", url)
    assert not (tmp_path / "new").exists()
