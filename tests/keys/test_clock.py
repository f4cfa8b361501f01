"""A clock a year back or ten ahead changes no verdict: bundle, certificate, trust, enrolment."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from bundle.errors import PulkError
from bundle.ids import SiteName
from bundle.trust import certificate, enrolment, fingerprint, trust_file
from bundle.trust.trust_file import TrustView
from central.absorb import KINDS
from central.fsck import fsck
from relay import enrol as relay_enrol
from relay import exchange
from relay import home as relay_home
from tests.keys.plant import Plant
from tests.keys.test_drills import held_at, results

YEAR_S = 365 * 86_400
DRIFTS = (-YEAR_S, 10 * YEAR_S)


def turn(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Let every clock that a program can read show another time."""
    real_s, real_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: real_s() + seconds)
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + seconds * 1_000_000_000)


def verdicts(plant: Plant, files: list[Path], trusts: list[bytes], raw: bytes) -> list[str]:
    """What is said of each bundle under each trust version, and of a certificate."""
    said = []
    for one in trusts:
        trust = trust_file.verify(one)
        for path in files:
            try:
                open_and_close(path, trust)
                said.append("good")
            except PulkError as error:
                said.append(error.code)
        said.append(certificate.verify(raw, trust).site)
    return said


def open_and_close(path: Path, trust: trust_file.Trust) -> None:
    from bundle.wire.read import open_bundle

    with open_bundle(path, TrustView(trust), audience=None, kinds=KINDS) as bundle:
        bundle.check_all()


def test_no_verdict_depends_on_a_clock(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = plant.authority()
    try:
        site = plant.site(authority)
        held = held_at(authority, site, 4, plant)
        ones = results(site, held, 2)
        authority.absorb(ones[0])
        works = [authority.outgoing(site.name, held.id)]
        plant.pulk("keys", "revoke", plant.home.root, "north", "central", "--keep", "all",
                   "--out", plant.draft)  # fmt: skip
        plant.sign_and_take()
        plant.rotate("--registrar", "--central")
    finally:
        authority.close()
    from bundle.trust import versions

    trusts = versions.chain(plant.home.trust)
    files = [*ones, *works, *sorted(plant.home.archive.rglob("*.pulk"))]
    expected = verdicts(plant, files, trusts, site.certificate)
    assert {"good", "revoked-key"} <= set(expected)
    state = fsck(plant.home)
    for seconds in DRIFTS:
        with monkeypatch.context() as turned:
            turn(turned, seconds)
            assert verdicts(plant, files, trusts, site.certificate) == expected
            assert fsck(plant.home) == state
            chain = trust_file.encode_chain(trusts)
            assert trust_file.advance(trust_file.verify(trusts[0]), chain).version == 3


@pytest.mark.parametrize("central_s", (*DRIFTS, 0))
@pytest.mark.parametrize("site_s", (*DRIFTS, 0))
def test_enrolment_rotation_and_work_go_on_whatever_the_clocks_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, central_s: int, site_s: int
) -> None:
    with monkeypatch.context() as turned:
        turn(turned, central_s)
        plant = Plant(tmp_path).create()
    with monkeypatch.context() as turned:
        turn(turned, site_s)
        made = relay_enrol.init(plant.relay, "north", "")
    with monkeypatch.context() as turned:
        turn(turned, central_s)
        authority = plant.authority()
        answer = authority.enrol(made.request.read_bytes(), made.fingerprint)
        plant.rotate("--central")
        plant.submit(authority)
        work = authority.pack(SiteName("north"), 10)
        assert work is not None
        source = authority.outgoing(SiteName("north"), work.id)
        shutil.copy(source, plant.usb / f"{work.id}.pulk")
        authority.close()
    (plant.usb / "answer").write_bytes(answer)
    with monkeypatch.context() as turned:
        turn(turned, site_s)
        words = fingerprint.of_roots(plant.trust())
        relay_enrol.accept(plant.relay, plant.usb / "answer", words)
        text = '[site]\nname = "north"\n[spool]\nfree_bytes_min = 0\n[pilots]\ncount = 0\n'
        (plant.relay / "relay.toml").write_text(text)
        home = relay_home.open_home(plant.relay)
        assert exchange.import_from(home, plant.usb).bundles == 1
        assert home.trust().version == 2
        exchange.export_to(home, plant.usb / "from-sites")
    with monkeypatch.context() as turned:
        turn(turned, central_s)
        authority = plant.authority()
        (report,) = (plant.usb / "from-sites").glob("*.pulk")
        assert authority.absorb(report).outcome == "merged"
        authority.close()
        assert enrolment.check_request(made.request.read_bytes()).site == "north"
