"""Bad days of who looks after the keys: the wrong file, the wrong order, a typo, damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bundle.trust import versions
from bundle.trust.errors import DraftImpossible, KeyFileRefused, MalformedTrust
from tests.keys.plant import Plant
from tests.keys.test_command import prepare, publics, sign, take


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["trust", "central.key", "central.toml", "."])
@pytest.mark.parametrize("what", [("rotate", "--central"), ("revoke", "central", "--keep", "all")])
def test_a_draft_never_takes_the_place_of_another_file(
    plant: Plant, what: tuple[str, ...], name: str
) -> None:
    root, before = plant.home.root, content(plant.folder)
    with pytest.raises(DraftImpossible, match=r"folder|another file"):
        plant.pulk("keys", what[0], root, *what[1:], "--out", root / name)
    assert content(plant.folder) == before


def test_a_repeated_command_does_not_throw_signatures_away(plant: Plant) -> None:
    prepare(plant, "--central")
    prepare(plant, "--central")  # nobody signed it yet
    sign(plant, 1)
    before = content(plant.folder)
    with pytest.raises(DraftImpossible, match="1 root keys signed"):
        prepare(plant, "--central")
    assert content(plant.folder) == before
    sign(plant, 2)
    take(plant)
    prepare(plant, "--registrar")  # the stick still holds the one that is in force now
    assert plant.trust().version == 2


@pytest.mark.parametrize("wrong", [("--threshold", "9"), ("--threshold", "0")])
def test_a_refused_rotation_leaves_no_fresh_keys(plant: Plant, wrong: tuple[str, str]) -> None:
    before = content(plant.folder)
    with pytest.raises(MalformedTrust, match="threshold"):
        prepare(plant, "--central", "--registrar", *wrong)
    assert content(plant.folder) == before


def test_a_mistyped_key_is_asked_about(plant: Plant, capsys: Any) -> None:
    for key, is_asked in (("ab" * 32, True), (plant.trust().current_central.hex(), False)):
        plant.pulk("keys", "revoke", plant.home.root, key, "--keep", "all")
        assert ("is that the key?" in capsys.readouterr().out) is is_asked


def test_a_damaged_private_key_does_not_stop_its_own_rotation(plant: Plant) -> None:
    path = plant.home.registrar_key
    path.write_bytes(b"")
    prepare(plant, "--registrar")
    sign(plant, 1, 2)
    take(plant)
    assert publics(path) == {plant.trust().current_registrar}
    path.write_bytes(b"")
    prepare(plant, "--central")
    sign(plant, 1, 2)
    with pytest.raises(KeyFileRefused, match="damaged"):
        take(plant)  # the one that is damaged now is in force: nothing can take its place
    assert plant.trust().version == 2


def test_what_was_signed_between_draft_and_take_is_told(plant: Plant, capsys: Any) -> None:
    authority = plant.authority()
    try:
        plant.submit(authority)
        plant.pulk("keys", "revoke", plant.home.root, "central", "--keep", "all",
                   "--out", plant.draft)  # fmt: skip
        plant.submit(authority)
        capsys.readouterr()
        plant.sign_and_take()
    finally:
        authority.close()
    said = capsys.readouterr().out
    assert said.count("archived and not kept: central 1 commit") == 1
    assert "requalify" in said
    plant.pulk("keys", "requalify", plant.home.root, plant.trust().revocations[0].key.hex(),
               "--keep", "all", "--out", plant.draft)  # fmt: skip
    plant.sign_and_take()
    assert "not kept" not in capsys.readouterr().out


def test_an_old_trust_file_put_back_is_found(plant: Plant, capsys: Any) -> None:
    old = plant.home.trust.read_bytes()
    plant.rotate("--registrar")
    new = plant.home.registrar_key.read_bytes()
    plant.home.trust.write_bytes(old)
    capsys.readouterr()
    assert plant.pulk("keys", "check", plant.home.root) == 1
    assert "version 2 lies here, not in force" in capsys.readouterr().out
    plant.pulk("keys", "take", plant.home.root, versions.path_of(plant.home.trust, 2))
    assert plant.home.registrar_key.read_bytes() == new
    assert plant.pulk("keys", "check", plant.home.root) == 0


def test_the_wrong_folder_is_named(plant: Plant) -> None:
    before = content(plant.folder)
    for command in (("rotate", "--central", "--out", plant.draft), ("take", plant.draft)):
        with pytest.raises(MalformedTrust, match=r"there is none|usb/trust-next"):
            plant.pulk("keys", command[0], plant.usb, *command[1:])
    assert content(plant.folder) == before
