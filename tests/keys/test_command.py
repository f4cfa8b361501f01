"""`pulk keys` beyond the drills: keys kept elsewhere, interruptions, refusals, what is found."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from bundle.trust import keyring, trust_file, versions
from bundle.trust.errors import (
    DraftImpossible,
    ForkedTrust,
    KeyFileRefused,
    MalformedTrust,
    NotARootKey,
    ThresholdNotMet,
    UnknownKeyName,
    WrongTrustVersion,
)
from bundle.trust.keys import KeyFile, Role
from bundle.trust.trust_file import TrustView
from bundle.wire.read import open_bundle
from central import trust_chain
from central.absorb import KINDS
from central.core.facts import ControlWord
from central.errors import SignerNotInForce
from central.rebuild import rebuild
from tests.keys.plant import Plant


def checks(plant: Plant, folder: Path | None = None) -> int:
    return plant.pulk("keys", "check", folder or plant.home.root)


def prepare(plant: Plant, *what: str | Path) -> None:
    plant.pulk("keys", "rotate", plant.home.root, *what, "--out", plant.draft)


def sign(plant: Plant, *numbers: int) -> None:
    for number in numbers:
        key = plant.sticks / f"root-{number}" / "root.key"
        plant.pulk("keys", "sign", plant.draft, "--key", key)


def take(plant: Plant, *options: str | Path) -> None:
    plant.pulk("keys", "take", plant.home.root, plant.draft, *options)


def publics(*paths: Path) -> set[bytes]:
    return {KeyFile.load(path).public for path in paths}


def test_every_private_key_and_folder_is_its_owners_alone_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[tuple[str, int]] = []
    real = os.open

    def spy(path: Any, flags: int, mode: int = 0o777, **rest: Any) -> int:
        if flags & os.O_CREAT and ".key" in str(path):
            modes.append((str(path), mode))
        return real(path, flags, mode, **rest)

    monkeypatch.setattr(os, "open", spy)
    before = os.umask(0)
    try:
        plant = Plant(tmp_path).create()
        plant.pulk("keys", "new", tmp_path / "user.key", "--role", "user")
        for what in (["--central"], ["--registrar"], ["--central", "--fresh"]):
            prepare(plant, *what)
            sign(plant, 1, 2)
            take(plant, "--retired-to", tmp_path / "retired")
        prepare(plant, "--central", "--next-dir", tmp_path / "safe")
        sign(plant, 1, 2)
        take(plant)
    finally:
        os.umask(before)
    files = list(tmp_path.rglob("*.key"))
    assert len(files) >= 11
    assert len(modes) >= len(files)
    assert {mode for _, mode in modes} == {0o600}
    assert {stat.S_IMODE(one.lstat().st_mode) for one in files} == {0o600}
    holders = {one.parent for one in files} - {tmp_path}
    assert {stat.S_IMODE(one.stat().st_mode) for one in holders} == {0o700}
    assert checks(plant) == 0


def test_the_old_private_key_goes_only_once_the_new_version_is_taken(plant: Plant) -> None:
    old = plant.key("central.key").public
    following = plant.key("central-next.key").public
    prepare(plant, "--central")
    sign(plant, 1)
    with pytest.raises(ThresholdNotMet):
        take(plant)
    assert plant.key("central.key").public == old
    assert plant.trust().version == 1
    sign(plant, 3)
    take(plant)
    assert plant.key("central.key").public == following
    assert old not in publics(*plant.folder.rglob("*.key"))


def test_a_retired_key_is_kept_where_told(plant: Plant) -> None:
    old = plant.key("central.key").public
    prepare(plant, "--central")
    sign(plant, 1, 2)
    take(plant, "--retired-to", plant.folder / "retired")
    assert publics(*(plant.folder / "retired").iterdir()) == {old}


def test_the_next_key_may_live_on_a_stick(plant: Plant) -> None:
    safe = plant.folder / "safe"
    prepare(plant, "--central", "--next-dir", safe)
    sign(plant, 1, 2)
    take(plant)
    assert not (plant.home.root / "central-next.key").exists()
    following = plant.trust().next_central
    assert publics(*safe.iterdir()) == {following}
    assert checks(plant) == 0
    away = safe.rename(plant.folder / "away")
    with pytest.raises(DraftImpossible, match="--next-dir"):
        prepare(plant, "--central")
    prepare(plant, "--central", "--next-dir", away)
    sign(plant, 1, 2)
    take(plant)
    assert plant.key("central.key").public == following
    assert checks(plant) == 0


def test_a_version_whose_private_keys_are_not_here_is_not_taken(plant: Plant) -> None:
    prepare(plant, "--registrar")
    sign(plant, 1, 2)
    shutil.rmtree(plant.home.root / "pending")
    with pytest.raises(KeyFileRefused, match="private half"):
        take(plant)
    assert plant.trust().version == 1


def test_taking_is_finished_by_taking_again(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trust file is in force, the machine stops, the keys did not move yet."""
    plant.pulk("keys", "revoke", plant.home.root, "central", "next", "--keep", "all",
               "--out", plant.draft)  # fmt: skip
    sign(plant, 1, 2)
    authority = plant.authority()
    try:
        dataset = plant.submit(authority)
        with monkeypatch.context() as patched:
            patched.setattr(keyring, "carry_out", lambda *_: (_ for _ in ()).throw(OSError("stop")))
            with pytest.raises(OSError, match="stop"):
                take(plant)
        assert plant.trust().version == 2
        assert checks(plant) == 1
        with pytest.raises(SignerNotInForce):  # rather than a bundle that nobody would believe
            plant.submit(authority)
        take(plant)
        assert checks(plant) == 0
        authority.control(dataset, ControlWord.SUSPEND, None, None, idempotency_key="x", token_id=1)
    finally:
        authority.close()


def test_only_the_next_version_is_taken_and_a_fork_is_named(plant: Plant) -> None:
    first = plant.home.trust.read_bytes()
    prepare(plant, "--central")
    other = shutil.copy(plant.draft, plant.usb / "other")
    sign(plant, 1, 2)
    take(plant)
    take(plant)  # again: nothing happens
    second = plant.home.trust.read_bytes()
    prepare(plant, "--registrar")
    sign(plant, 1, 2)
    take(plant)
    (plant.usb / "first").write_bytes(first)
    (plant.usb / "second").write_bytes(second)
    for name in ("first", "second"):
        with pytest.raises(WrongTrustVersion):
            plant.pulk("keys", "take", plant.home.root, plant.usb / name)
    plant.draft.write_bytes(Path(other).read_bytes())
    # The roots sign another version 3, as if two drafts had been under way at once.
    plant.home.trust.write_bytes(second)
    prepare(plant, "--central", "--fresh")
    plant.home.trust.write_bytes(versions.path_of(plant.home.trust, 3).read_bytes())
    sign(plant, 1, 2)
    with pytest.raises(ForkedTrust):
        take(plant)
    assert plant.trust().version == 3


def test_a_server_at_work_signs_with_the_new_key_and_tells_every_site(plant: Plant) -> None:
    authority = plant.authority()
    try:
        site = plant.site(authority)
        assert authority.absorb(site.report(0)).outcome == "merged"
        before = [site.take(authority.outgoing(site.name, one.id)) for one in
                  authority.outbox(site.name)]  # fmt: skip
        authority.absorb(site.report(0))
        assert len(before) <= 1
        assert not authority.outbox(site.name)
        for _ in range(3):
            plant.rotate("--central")
        (made,) = authority.outbox(site.name)
        path = authority.outgoing(site.name, made.id)
        with open_bundle(path, TrustView(plant.trust()), audience="north", kinds=KINDS) as bundle:
            assert bundle.signer_key == plant.key("central.key").public
            chain = bundle.manifest.trust
        assert trust_file.advance(site.trust.trust, chain).version == 4
    finally:
        authority.close()


def test_a_rebuild_finds_the_versions_in_the_archive(plant: Plant) -> None:
    first = shutil.copy(plant.home.trust, plant.folder / "trust-1")
    authority = plant.authority()
    try:
        site = plant.site(authority)
        for _ in range(3):
            plant.rotate("--central")
        plant.submit(authority)
        assert authority.pack(site.name, 10) is not None
    finally:
        authority.close()
    for given in (Path(first), plant.home.trust):
        fresh = type(plant.home)(plant.folder / f"again-{Path(given).name}")
        found = rebuild(fresh, plant.home.archive, Path(given), shuffle=1, repeat=2)
        assert found["ok"], found["problems"]
        assert trust_file.load(fresh.trust).version == 4
        assert trust_chain.chain_for(fresh, 0) == trust_chain.chain_for(plant.home, 0)
        assert trust_chain.chain_for(fresh, 3) == trust_file.encode_chain([plant.trust().raw])


def test_keys_are_named_by_role_digits_or_file(plant: Plant, capsys: Any) -> None:
    authority = plant.authority()
    site = plant.site(authority)
    authority.close()
    (plant.folder / "certificate").write_bytes(site.certificate)
    trust = plant.trust()

    def revokes(*names: str) -> str:
        capsys.readouterr()
        plant.pulk("keys", "revoke", plant.home.root, *names, "--keep", "none")
        return str(capsys.readouterr().out)

    for name, key in (
        ("central", trust.current_central),
        (trust.current_central.hex()[:10], trust.current_central),
        ("next", trust.next_central),
        ("central-next.key", trust.next_central),
        ("registrar", trust.current_registrar),
        (str(plant.folder / "certificate"), site.key.public),
        (site.key.public.hex(), site.key.public),
    ):
        if key in (trust.current_central, trust.next_central, site.key.public):
            assert key.hex()[:16] in revokes(name)
    for name in ("nobody", trust.current_central.hex()[:4], "north", "../x"):
        with pytest.raises(UnknownKeyName):
            revokes(name)
    with pytest.raises(MalformedTrust, match="not about one key"):
        revokes(str(plant.home.trust))


def test_only_root_keys_sign_trust(plant: Plant) -> None:
    prepare(plant, "--central")
    with pytest.raises(KeyFileRefused, match="root key is needed"):
        plant.pulk("keys", "sign", plant.draft, "--key", plant.home.central_key)
    plant.pulk("keys", "root-init", plant.folder / "others", "--keys", "1")
    with pytest.raises(NotARootKey):
        key = plant.folder / "others" / "root-1" / "root.key"
        plant.pulk("keys", "sign", plant.draft, "--key", key)


def test_check_finds_what_is_wrong(plant: Plant, capsys: Any) -> None:
    assert checks(plant) == 0
    root = plant.home.root

    def finds(words: str) -> None:
        capsys.readouterr()
        assert checks(plant) == 1
        assert words in capsys.readouterr().out

    (root / "registrar.key").chmod(0o640)
    finds("others can read it")
    (root / "registrar.key").chmod(0o600)
    root.chmod(0o755)
    finds("folder mode")
    root.chmod(0o700)
    shutil.copytree(plant.sticks / "root-1", root / "root-1")
    finds("inside the folder")
    shutil.rmtree(root / "root-1")
    plant.rotate("--central")
    moved = (root / "central.key").rename(root / "away")
    finds("central key")
    moved.rename(root / "central.key")
    kept = versions.path_of(plant.home.trust, 1).rename(root / "away")
    finds("version 1 is missing")
    kept.rename(versions.path_of(plant.home.trust, 1))
    prepare(plant, "--central")
    assert checks(plant) == 0  # keys under way are told, not wrong
    assert "keys under way" in capsys.readouterr().out
    plant.home.trust.write_bytes(b"x")
    finds("malformed-trust")


def test_check_nags_about_one_of_one(tmp_path: Path, capsys: Any) -> None:
    from central import home as homes

    plant = Plant(tmp_path)
    homes.create(plant.home)
    assert checks(plant) == 0
    said = capsys.readouterr().out
    assert "one stolen key is enough" in said
    assert "move it to a stick" in said


def test_show_never_shows_a_private_key(plant: Plant, capsys: Any) -> None:
    for path, seed in plant.secrets().items():
        capsys.readouterr()
        for options in ([], ["--json"]):
            assert plant.pulk("keys", "show", path, *options) == 0
            said = capsys.readouterr().out
            assert KeyFile.load(path).public.hex()[:16] in said
            assert seed.hex() not in said
    (plant.folder / "open.key").write_bytes((plant.home.root / "central.key").read_bytes())
    (plant.folder / "open.key").chmod(0o644)
    with pytest.raises(KeyFileRefused):
        plant.pulk("keys", "show", plant.folder / "open.key")


def test_root_keys_are_made_once_and_counted(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    for keys, threshold in (("3", "4"), ("0", "0"), ("16", "2")):
        with pytest.raises(MalformedTrust):
            plant.pulk("keys", "root-init", plant.sticks, "--keys", keys, "--threshold", threshold)
    plant.pulk("keys", "root-init", plant.sticks)
    with pytest.raises(MalformedTrust, match="already"):
        plant.pulk("keys", "root-init", plant.sticks)
    made = [KeyFile.load(path, Role.ROOT) for path in plant.sticks.rglob("*.key")]
    assert len({one.public for one in made}) == 3
