"""Hops: transit relays that carry over several folders to a real central and hold no site's key."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle.ids import BundleId, SiteName
from bundle.trust import courier
from bundle.trust.courier import Pass
from bundle.trust.keys import KeyFile, MemoryKey, Role
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from central import stick
from central.home import now_us
from relay.carrier.exchange import is_whole
from relay.carrier.folder import TO_CENTRAL, TO_SITE
from relay.errors import ConfigRefused
from relay.hop import opening
from relay.hop.loop import PACE
from relay.hop.opening import open_hop
from relay.hop.walk import walk
from tests.central.site import SITE, enrolled
from tests.conftest import REPOSITORY
from tests.relay.carriers.far import LARGE_BYTES, Far
from tests.relay.carriers.lines import HttpsLine, SshLine

pytestmark = pytest.mark.programs

DAY_US = 86_400_000_000


def exchange(root: Path) -> Path:
    for side in (TO_CENTRAL, TO_SITE):
        (root / side).mkdir(parents=True)
    return root


def hop(folder: Path, site: str, central: str, more: str = "", ssh: str = "") -> Path:
    """Make a hop between two addresses; return its folder."""
    opening.make(folder, folder.name)
    text = f'[hop]\nname = "{folder.name}"\nfree_bytes_min = 0\n[site]\nurl = "{site}"\n'
    (folder / "hop.toml").write_text(f'{text}[central]\nurl = "{central}"\n{more}\n{ssh}')
    return folder


def with_pass(far: Far, folder: Path, *, days: float = 1, key: bytes = b"") -> None:
    """Give a hop that goes to central the site's pass for its key."""
    now, site = now_us(), far.served.site
    ends_us = now + int(days * DAY_US)
    given = Pass(SiteName(SITE), key or _public(folder), now - DAY_US, ends_us)
    raw = courier.wrap(site.certificate, courier.issue(given, site.key))
    (folder / "courier.pass").write_bytes(raw)


def _public(folder: Path) -> bytes:
    return KeyFile.load(folder / "courier.key", Role.COURIER).public


def to_central(far: Far, folder: Path, https: HttpsLine, site: str, ssh: str = "") -> Path:
    """Make a hop between an exchange folder and central itself."""
    url = f"https://localhost:{https.wire.port}"
    more = f'pass_file = "courier.pass"\nca = "{https.certifier.ca}"'
    made = hop(folder, site, url, more, ssh)
    with_pass(far, made)
    return made


def lay(far: Far, folder: Path, size_bytes: int = 1000) -> BundleId:
    bundle = far.bundle(size_bytes)
    shutil.copy(bundle.path, folder / TO_CENTRAL / f"{bundle.id}.pulk")
    return bundle.id


def test_two_hops_carry_both_ways_and_say_who_took_what_when(
    far: Far, https: HttpsLine, tmp_path: Path
) -> None:
    near, middle = exchange(tmp_path / "near"), exchange(tmp_path / "middle")
    first = hop(tmp_path / "gateway", near.as_uri(), middle.as_uri())
    second = to_central(far, tmp_path / "outpost", https, middle.as_uri())
    bundle = lay(far, near)
    walk(open_hop(first))
    assert [one.name for one in (near / TO_CENTRAL).iterdir()] == []
    (record,) = lines(middle / TO_CENTRAL / f"{bundle}.custody")
    assert (record["hop"], record["kind"], record["producer"]) == ("gateway", "telemetry", SITE)
    assert walk(open_hop(second)).trouble == {}
    assert far.knows(bundle)
    walk(open_hop(first))
    assert is_whole(near / TO_SITE / f"{far.offered}.pulk", far.offered)
    said = lines(near / TO_SITE / f"{far.offered}.custody")
    assert [one["hop"] for one in said] == ["outpost", "gateway"]
    assert said[0]["took_us"] <= said[1]["took_us"]
    for folder in (first, second):
        assert not list((folder / "hold").rglob("*.pulk"))
    logged = [(one["did"], one["bundle"]) for one in lines(second / "custody.log")]
    assert logged == [
        ("took", bundle), ("gave", bundle), ("took", far.offered), ("gave", far.offered),
    ]  # fmt: skip


def test_what_was_given_is_not_carried_again_until_it_is_missed(
    far: Far, https: HttpsLine, tmp_path: Path
) -> None:
    near = exchange(tmp_path / "near")
    folder = to_central(far, tmp_path / "outpost", https, near.as_uri())
    assert walk(open_hop(folder)).took[TO_SITE] == 1
    assert walk(open_hop(folder)).took[TO_SITE] == 0
    text = (folder / "hop.toml").read_text()
    (folder / "hop.toml").write_text(text.replace("[hop]\n", "[hop]\nagain_s = 0\n"))
    assert walk(open_hop(folder)).took[TO_SITE] == 1


def test_a_hop_that_goes_on_and_on_leaves_central_alone_while_it_is_away(
    far: Far, https: HttpsLine, tmp_path: Path
) -> None:
    near, asked = exchange(tmp_path / "near"), list[float]()
    folder = to_central(far, tmp_path / "outpost", https, near.as_uri())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        text = (folder / "hop.toml").read_text()
        port = listening.getsockname()[1]
        (folder / "hop.toml").write_text(text.replace(str(https.wire.port), str(port)))
        threading.Thread(target=hang_up, args=(listening, asked), daemon=True).start()
        command = [sys.executable, "-I", "-m", "bundle.cli", "relay", "hop", str(folder)]
        process = subprocess.Popen([*command, "--interval", "0.05"], cwd=REPOSITORY)
        try:
            for _ in range(8):  # each is taken in a round of its own
                bundle = lay(far, near)
                until(lambda: not list((near / TO_CENTRAL).iterdir()))
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert (folder / "hold" / TO_CENTRAL / f"{bundle}.pulk").exists()
    assert 1 <= len(asked) <= 2 + (asked[-1] - asked[0]) / (PACE.base_s / 2)


def hang_up(listening: socket.socket, asked: list[float]) -> None:
    """Close every connection, and note when it came."""
    with contextlib.suppress(OSError):
        while True:
            listening.accept()[0].close()
            asked.append(time.monotonic())


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_end_that_is_away_stops_the_other_in_nothing(
    far: Far, https: HttpsLine, tmp_path: Path
) -> None:
    near = exchange(tmp_path / "near")
    folder = to_central(far, tmp_path / "outpost", https, near.as_uri())
    bundle = lay(far, near, LARGE_BYTES)
    with https.away():
        walked = walk(open_hop(folder))
    assert (list(walked.trouble), walked.took[TO_CENTRAL]) == (["central"], 1)
    near.rename(tmp_path / "unmounted")
    walked = walk(open_hop(folder))
    assert list(walked.trouble) == ["site"]
    assert walked.gave[TO_CENTRAL] == 1
    assert far.knows(bundle)
    (tmp_path / "unmounted").rename(near)
    assert walk(open_hop(folder)).gave[TO_SITE] == 1


def test_planted_files_are_not_carried_and_the_right_one_later_is(far: Far, tmp_path: Path) -> None:
    near, middle = exchange(tmp_path / "near"), exchange(tmp_path / "middle")
    folder = hop(tmp_path / "gateway", near.as_uri(), middle.as_uri())
    bundle = far.bundle(100_000)
    place = near / TO_CENTRAL / f"{bundle.id}.pulk"
    raw = bundle.path.read_bytes()
    place.write_bytes(raw[:50_000])
    (near / TO_CENTRAL / f"{'a' * 64}.pulk").write_bytes(raw)  # under a name that is not its own
    (near / TO_CENTRAL / f"{'b' * 64}.pulk").symlink_to(bundle.path)
    assert walk(open_hop(folder)).refused == 2
    assert walk(open_hop(folder)).refused == 0  # they are not looked at again
    assert list((middle / TO_CENTRAL).iterdir()) == []
    place.write_bytes(raw)
    assert walk(open_hop(folder)).took[TO_CENTRAL] == 1
    assert is_whole(middle / TO_CENTRAL / place.name, bundle.id)


def test_a_hop_reaches_into_a_site_over_a_connection_that_a_person_opened(
    far: Far, ssh: SshLine, https: HttpsLine, tmp_path: Path
) -> None:
    told = f'[ssh]\nconfig = "{ssh.sshd.config}"\n'
    folder = to_central(far, tmp_path / "laptop", https, f"ssh://login{ssh.root}", told)
    (ssh.root / TO_SITE / f"{far.offered}.pulk").unlink()
    bundle = lay(far, ssh.root, LARGE_BYTES)
    ssh.sshd.log_out()
    walked = walk(open_hop(folder))
    assert "ssh -MNf" in walked.trouble["site"]
    assert walked.took == {TO_CENTRAL: 0, TO_SITE: 1}
    ssh.log_in()
    walked = walk(open_hop(folder))
    assert (walked.trouble, walked.gave) == ({}, {TO_CENTRAL: 1, TO_SITE: 1})
    assert far.knows(bundle)
    assert ssh.has(bundle) is False  # it was taken away
    assert is_whole(ssh.root / TO_SITE / f"{far.offered}.pulk", far.offered)


def test_central_lets_a_courier_carry_while_its_pass_lasts_and_nothing_else(
    far: Far, https: HttpsLine, tmp_path: Path
) -> None:
    near = exchange(tmp_path / "near")
    folder = to_central(far, tmp_path / "outpost", https, near.as_uri())
    with_pass(far, folder, days=-0.5)  # it is over
    assert "request-refused" in walk(open_hop(folder)).trouble["central"]
    with_pass(far, folder, key=far.served.site.key.public)
    with pytest.raises(ConfigRefused, match="another key"):
        open_hop(folder)
    now = now_us()
    forged = courier.issue(
        Pass(SiteName(SITE), _public(folder), now, now + DAY_US), MemoryKey.generate()
    )
    raw = courier.wrap(far.served.site.certificate, forged)
    (folder / "courier.pass").write_bytes(raw)
    assert "request-refused" in walk(open_hop(folder)).trouble["central"]


def test_custody_records_that_are_planted_stay_small_and_harmless(far: Far, tmp_path: Path) -> None:
    near, middle = exchange(tmp_path / "near"), exchange(tmp_path / "middle")
    folder = hop(tmp_path / "gateway", near.as_uri(), middle.as_uri())
    bundle = lay(far, near)
    record = near / TO_CENTRAL / f"{bundle}.custody"
    record.write_bytes(b'not json\n[1]\n{"hop": "elsewhere"}\n\xff\xfe\n')
    walk(open_hop(folder))
    said = lines(middle / TO_CENTRAL / f"{bundle}.custody")
    assert [one["hop"] for one in said] == ["elsewhere", "gateway"]
    huge = lay(far, near)
    (near / TO_CENTRAL / f"{huge}.custody").write_bytes(b'{"a": 1}\n' * 100_000)
    walk(open_hop(folder))
    assert len(lines(middle / TO_CENTRAL / f"{huge}.custody")) == 1


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(one) for one in path.read_bytes().splitlines()]


def test_central_takes_over_an_exchange_folder_answers_once_and_leaves_it_tidy(
    tmp_path: Path,
) -> None:
    site = enrolled(tmp_path)
    folder = exchange(tmp_path / "exchange")
    report = site.report(tmp_path, 0)
    shutil.copy(report, folder / TO_CENTRAL / report.name)
    (folder / TO_CENTRAL / f"{report.stem}.custody").write_bytes(b"{}\n")
    (folder / TO_CENTRAL / "notes.txt").write_bytes(b"mine")
    authority = site.authority()
    try:
        (came,) = stick.absorb_all(authority, site.home, folder / TO_CENTRAL, remove=True)
        assert came.outcome == "merged"
        assert [one.name for one in (folder / TO_CENTRAL).iterdir()] == ["notes.txt"]
        (answer,) = authority.outbox(SiteName(SITE))
        path = authority.outgoing(SiteName(SITE), answer.id)
        with open_bundle(path, site.trust(), audience=SITE, kinds=frozenset({Kind.WORK})) as said:
            (receipt,) = said.manifest.receipts
        assert 0 in receipt.merged
        shutil.copy(report, folder / TO_CENTRAL / report.name)  # it has not heard yet: once more
        stick.absorb_all(authority, site.home, folder / TO_CENTRAL, remove=True)
        assert len(authority.outbox(SiteName(SITE))) == 1
    finally:
        authority.close()
