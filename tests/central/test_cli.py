"""`pulk central` with files alone: init, lock, doctor, enrolment by stick, exchange, pack."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bundle.trust.keys import KeyFile, Role
from bundle.trust.trust_file import TrustView
from central import lock
from central.config import Config
from central.doctor import examine
from central.home import AlreadyMade, Home, NoCentral, RootKeyInside, create, open_home
from central.lock import InUse
from tests.central.site import SITE, Site, enrolled

EXIT_TRY_AGAIN = 75
LIMIT_S = 60


def pulk(*words: str, code: int = 0) -> Any:
    """Run the real command with --json and return its document."""
    done = subprocess.run(
        [sys.executable, "-I", "-m", "bundle.cli", "central", *words, "--json"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_init_makes_keys_token_and_configuration_that_only_the_owner_reads(tmp_path: Path) -> None:
    made = pulk("init", str(tmp_path / "central"), "--copies", "2")
    home = open_home(tmp_path / "central")
    assert made["dir"] == str(home.root)
    assert made["token_file"] == str(home.token)
    assert len(made["root_fingerprint"].split("-")) == 6
    assert len(home.token.read_text().strip()) >= 43
    for path in (home.token, home.central_key, home.registrar_key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700
    assert "copies = 2" in home.config.read_text()
    assert TrustView.load(home.trust).version == 1


def test_the_root_key_lies_beside_the_folder_never_inside(tmp_path: Path) -> None:
    home = Home(tmp_path / "central")
    with pytest.raises(RootKeyInside):
        create(home, home.root / "root")
    made = create(home)
    assert made.root_dir == tmp_path / "central-root"
    root = KeyFile.load(made.root_dir / "root.key", Role.ROOT)
    assert TrustView.load(home.trust).trust.roots == (root.public,)
    assert not list(home.root.rglob("root.key"))


def test_init_never_replaces_what_is_there(tmp_path: Path) -> None:
    home = Home(tmp_path / "central")
    create(home)
    token = home.token.read_text()
    with pytest.raises(AlreadyMade):
        create(home, tmp_path / "other-root")
    assert home.token.read_text() == token


def test_a_folder_without_a_central_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(NoCentral):
        open_home(tmp_path)
    error = pulk("doctor", str(tmp_path), code=1)["error"]
    assert error["code"] == "no-central"


def test_one_process_writes_at_a_time_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "central")
    create(home)
    with lock.held(home, "serve"):
        error = pulk("site", "list", str(home.root), code=EXIT_TRY_AGAIN)["error"]
        assert error["code"] == "in-use"
        assert error["fields"] == {"pid": str(os.getpid()), "doing": "serve"}
        with pytest.raises(InUse), lock.held(home, "pack"):
            pass
    with lock.held(home, "pack"):
        pass


def test_doctor_nags_about_one_copy_one_root_key_and_open_modes(tmp_path: Path) -> None:
    home = Home(tmp_path / "central")
    create(home)
    home.token.chmod(0o644)
    found = {one.name: one for one in examine(home, Config())}
    assert found["archive copies"].found == "1: safe on a single disk"
    assert found["root keys"].remedy
    assert found["root key"].remedy
    assert "chmod 600" in found["admin.token"].remedy
    assert not found["central.key"].remedy


def test_a_site_is_enrolled_only_with_the_right_fingerprint(tmp_path: Path) -> None:
    site = Site.asking(tmp_path)
    answer = ["--out", str(tmp_path / "answer")]
    enrol = ["enrol", str(site.home.root), str(site.request)]
    error = pulk(*enrol, "--fingerprint", "wrong-words", *answer, code=1)["error"]
    assert error["code"] == "wrong-fingerprint"
    assert not (tmp_path / "answer").exists()
    pulk(*enrol, "--fingerprint", site.fingerprint, *answer)
    site.accept(tmp_path / "answer")
    sites = pulk("site", "list", str(site.home.root))["sites"]
    assert [row["site"] for row in sites] == [SITE]


def test_exchange_takes_a_sticks_bundles_and_leaves_receipts_and_the_stick_as_it_was(
    tmp_path: Path,
) -> None:
    site = enrolled(tmp_path)
    stick, out = tmp_path / "stick", tmp_path / "out"
    (stick / "deep").mkdir(parents=True)
    site.submit(jobs=2)
    report = site.report(stick / "deep", sequence=0, tasks_wanted=2)
    (stick / "._hidden.pulk").write_bytes(b"a file of the stick's own")
    (stick / "notes.txt").write_text("not a bundle")
    (stick / "torn.PULK").write_bytes(report.read_bytes()[:100])
    before = sorted((str(path), path.stat().st_size) for path in stick.rglob("*"))
    done = pulk("exchange", str(site.home.root), str(stick), str(out), code=1)
    outcomes = {row["file"]: row["outcome"] for row in done["came"]}
    assert outcomes == {f"deep/{report.name}": "merged", "torn.PULK": "refused"}
    assert sorted((str(path), path.stat().st_size) for path in stick.rglob("*")) == before
    left = {row["bundle"] for row in done["left"]}
    assert left
    assert {path.stem for path in out.glob("*.pulk")} == left
    assert not list(site.home.uploads.iterdir())


def test_exchange_into_the_folder_it_reads_passes_over_centrals_own_bundles(tmp_path: Path) -> None:
    site = enrolled(tmp_path)
    site.submit(jobs=3)
    stick = tmp_path / "stick"
    stick.mkdir()
    report = site.report(stick, sequence=0, tasks_wanted=10)
    first = pulk("exchange", str(site.home.root), str(stick), str(stick))
    assert first["left"]
    again = pulk("exchange", str(site.home.root), str(stick), str(stick))
    outcomes = {row["file"]: row["outcome"] for row in again["came"]}
    assert outcomes.pop(report.name) == "merged"
    assert set(outcomes.values()) == {"skipped"}


def test_pack_writes_work_for_a_site_that_never_reported(tmp_path: Path) -> None:
    site = enrolled(tmp_path)
    out = tmp_path / "out"
    packing = ["pack", str(site.home.root), "--site", SITE, "--tasks", "2", "--out", str(out)]
    assert pulk(*packing)["bundle"] is None
    site.submit(jobs=3)
    made = pulk(*packing)
    assert [path.stem for path in out.iterdir()] == [made["bundle"]]
    assert (out / f"{made['bundle']}.pulk").stat().st_size == made["bytes"]


def test_fsck_and_rebuild_agree(tmp_path: Path) -> None:
    site = enrolled(tmp_path)
    site.submit(jobs=3)
    found = pulk("fsck", str(site.home.root))
    assert found["ok"]
    fresh = tmp_path / "fresh"
    pulk(
        *("rebuild", str(fresh), "--archive", str(site.home.archive)),
        *("--trust", str(site.home.trust), "--shuffle", "3", "--repeat", "2"),
    )
    assert pulk("fsck", str(fresh))["state_hash"] == found["state_hash"]
