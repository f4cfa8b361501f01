"""ssh alone: logins that are over, and a far side that is hostile."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from relay.carrier import ssh as ssh_module
from relay.carrier.exchange import taken
from relay.carrier.folder import TO_CENTRAL, TO_SITE, Entry
from relay.carrier.ssh import FarFolder, Reach
from relay.errors import CarryFailed, FarSideRefused, LoginNeeded
from tests.relay.carriers.far import LARGE_BYTES, Far
from tests.relay.carriers.lines import SshLine
from tests.relay.carriers.test_conformance import CUT_AT, nothing_known

pytestmark = pytest.mark.programs


def test_without_a_person_nothing_tries_to_log_in_and_what_to_type_is_told(
    ssh: SshLine, far: Far
) -> None:
    ssh.sshd.log_out()
    assert ssh.wire is not None
    before = ssh.wire.connections
    for _ in range(3):
        with pytest.raises(LoginNeeded, match="ssh -MNf") as failed:
            ssh.carrier().send(far.bundle())
    assert ssh.wire.connections == before
    assert failed.value.transient
    ssh.log_in()
    assert ssh.carrier().send(far.bundle()) is not None


def test_a_connection_that_ends_in_the_middle_pauses_and_the_rest_goes_on_after_the_login(
    ssh: SshLine, far: Far
) -> None:
    bundle = far.bundle(LARGE_BYTES)
    assert ssh.wire is not None
    ssh.wire.cut_up = CUT_AT
    with pytest.raises(LoginNeeded):
        ssh.carrier().send(bundle)
    assert not ssh.has(bundle.id)
    (part,) = (ssh.root / TO_CENTRAL).iterdir()
    assert part.name.startswith(".")
    assert 0 < part.stat().st_size < LARGE_BYTES
    ssh.log_in()
    assert ssh.carrier().send(bundle) is not None
    assert ssh.has(bundle.id)
    assert [one.name for one in (ssh.root / TO_CENTRAL).iterdir()] == [f"{bundle.id}.pulk"]


def test_keys_that_count_no_more_are_told_as_a_login_that_is_needed(ssh: SshLine, far: Far) -> None:
    ssh.sshd.log_out()
    reach = Reach(
        "login", str(ssh.root), by_person=False, config=str(ssh.sshd.config), control="none"
    )
    folder = FarFolder(reach)
    assert [one.name for one in folder.entries(TO_SITE)] == [f"{far.offered}.pulk"]
    ssh.sshd.forbid()
    with pytest.raises(LoginNeeded, match="Permission denied"):
        folder.entries(TO_SITE)


def test_a_changed_host_key_or_a_missing_folder_is_told_in_ssh_s_own_words(
    ssh: SshLine, far: Far
) -> None:
    missing = FarFolder(replace(_reach(ssh), path=f"{ssh.root}/nowhere"))
    with pytest.raises(CarryFailed, match=r"not found|No such file"):
        missing.entries(TO_SITE)
    ssh.sshd.log_out()
    known = ssh.sshd.folder / "known"
    right = known.read_text()
    known.write_text(right.replace("AAAA", "AAAB", 1))
    try:
        with pytest.raises(CarryFailed, match=r"[Hh]ost key"):
            FarFolder(replace(_reach(ssh), by_person=False, control="none")).entries(TO_SITE)
    finally:
        known.write_text(right)


def test_planted_links_folders_and_other_files_are_passed_over(
    ssh: SshLine, far: Far, tmp_path: Path
) -> None:
    there = ssh.root / TO_SITE
    (there / f"{'a' * 64}.pulk").symlink_to("/etc/passwd")
    (there / f"{'b' * 64}.pulk").mkdir()
    os.mkfifo(there / f"{'c' * 64}.pulk")
    (there / "holiday photo.jpg").write_bytes(b"x")
    (there / f"{'d' * 64}.pulk\n-rw------- 1 0 0 5 Nov 27 09:00 {'e' * 64}.pulk").write_bytes(b"")
    names = {one.name for one in ssh.folder.entries(TO_SITE)}
    assert f"{far.offered}.pulk" in names
    assert not names & {f"{letter * 64}.pulk" for letter in "abc"}
    (tmp_path / "in").mkdir()
    found = list(_whole(ssh, tmp_path / "in"))
    assert [path.stem for path in found] == [far.offered]


def test_a_listing_without_end_is_refused(ssh: SshLine, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(300):
        (ssh.root / TO_SITE / f"{number:064x}.pulk").touch()
    monkeypatch.setattr(ssh_module, "LISTING_BYTES_MAX", 10_000)
    with pytest.raises(FarSideRefused, match="bytes of words"):
        ssh.folder.entries(TO_SITE)
    monkeypatch.undo()
    monkeypatch.setattr(ssh_module, "ENTRIES_MAX", 100)
    with pytest.raises(FarSideRefused, match="301 files"):
        ssh.folder.entries(TO_SITE)


def test_a_file_that_is_longer_than_it_was_said_to_be_fills_no_disk(
    ssh: SshLine, tmp_path: Path
) -> None:
    name = f"{'a' * 64}.pulk"
    (ssh.root / TO_SITE / name).write_bytes(os.urandom(LARGE_BYTES))
    with pytest.raises(CarryFailed):
        taken(ssh.folder, TO_SITE, Entry(name, 100_000), tmp_path)
    assert max(one.stat().st_size for one in tmp_path.iterdir() if one.is_file()) <= 100_000


def _reach(ssh: SshLine) -> Reach:
    return Reach("login", str(ssh.root), config=str(ssh.sshd.config), timeout_s=10)


def _whole(ssh: SshLine, into: Path) -> list[Path]:
    return list(ssh.carrier().fetch(nothing_known, into))
