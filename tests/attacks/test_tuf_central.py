"""The attack goals that TUF lists, against a real central: carriers and stolen keys."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.ids import Epoch, StreamId
from bundle.intervals import IntervalSet
from bundle.limits import ParseLimits
from bundle.records import report as reports
from bundle.records.report import Report
from bundle.spool.bounded import read_bounded
from bundle.trust import enrolment, quickstart, trust_file, versions
from bundle.trust.errors import TrustRefused
from bundle.trust.keys import KeyFile, Role
from bundle.trust.revocation import pinned
from bundle.trust.trust_file import Revocation
from bundle.wire.header import MAGIC
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from bundle.wire.write import ChunkSource
from central.authority import Authority
from central.doctor import examine
from central.fsck import fsck
from central.silence import SILENT_AFTER_S
from relay import enrol
from relay.accept import accept_all
from tests.attacks.bounded import Ready, run_bounded
from tests.attacks.state import central_state
from tests.central.conftest import Central, chain
from tests.central.scripted_site import Held, ScriptedSite
from tests.relay.world import make_world

pytestmark = pytest.mark.sweeps

TEN_GIB = 10 << 30


@pytest.fixture
def central(tmp_path: Path) -> Central:
    return Central(tmp_path, shard_tasks_max=1)


def work_of(central: Central, site: ScriptedSite, jobs: int) -> Held:
    central.submit(chain(jobs=jobs, fan_in=False))
    assert central.authority.absorb(site.report(100_000)).outcome == "merged"
    (held,) = [one for one in site.fetch(central.authority) if one.leases]
    return held


def endless(folder: str) -> Ready:
    """Return what offers a file of 10 GiB wherever a file is read."""
    central, world = Central(Path(folder) / "c"), make_world(Path(folder) / "w")
    good = world.pack(world.lease(0, [0]))
    head = good.read_bytes()[:34]
    files = {}
    for name, start in {"zeros": b"", "magic": MAGIC, "header": head}.items():
        files[name] = Path(folder) / name
        files[name].write_bytes(start)
        files[name].chmod(0o600)
        os.truncate(files[name], TEN_GIB)
    readers = {
        "key file": KeyFile.load,
        "trust file": trust_file.load,
        "chain": versions.read_files,
        "seal": lambda path: read_bounded(path, ParseLimits(1 << 20, 9)),
        "answer": lambda path: enrol.accept(world.home.folder, path, "x"),
        "request": lambda path: enrolment.check_request(path.open("rb").read(2 << 20)),
    }

    def act() -> dict[str, str]:
        said = {}
        for name, path in files.items():
            found = central.authority.absorb(path)
            said[f"central {name}"] = found.code
            os.link(path, world.spool.folder("in") / f"{name}.pulk")
        said["relay"] = str(accept_all(world.home).refused)
        for name, read in readers.items():
            try:
                read(files["zeros"])
                said[name] = "read"
            except Exception as error:
                said[name] = str(getattr(error, "code", type(error).__name__))
        return said

    return act


def test_endless_data_is_refused_by_its_size_and_costs_no_memory(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "w").mkdir()
    said = run_bounded(endless, tmp_path)
    assert said.pop("relay") == "3"
    assert said.pop("central header") == "trailing-bytes"
    assert not {"read", "MemoryError"} & set(said.values()), said


def test_vulnerability_to_key_compromise_a_site_key_vouches_for_no_other_sites_leases(
    central: Central,
) -> None:
    north, south = central.site("north"), central.site("south")
    held = work_of(central, north, 1000)
    before = central_state(central)
    assert len(held.leases) >= 1000
    south.trust = north.trust
    played = [south.play(held, lease) for lease in held.leases]
    for part in (played, played[:1], played[500:502]):
        path = south.result(part, told=False)
        found = central.authority.absorb(path)
        assert (found.outcome, found.code) == ("refused", "foreign-lease")
    after = central_state(central)
    assert after["hash"] == before["hash"]
    for name in ("task", "attempt", "segment", "lease", "dataset"):
        assert after.get(name) == before.get(name)


def test_vulnerability_to_key_compromise_a_revoked_site_key_merges_only_what_is_kept(
    central: Central,
) -> None:
    site = central.site()
    held = work_of(central, site, 3)
    honest, forged, later = (
        site.result([site.play(held, lease)], told=False) for lease in held.leases[:3]
    )
    first = site.sequence - 3
    kept = pinned(site.stream, [(first, bytes.fromhex(_id(central, honest)))])
    root = KeyFile.load(central.home.root_dir / quickstart.ROOT_KEY, Role.ROOT)
    trust = central.authority._w.trust.trust
    newer = replace(trust, version=2, raw=b"", revocations=(Revocation(site.key.public, kept),))
    raw = trust_file.encode(newer, [root])
    trust_file.verify_next(trust, raw)
    quickstart.save_trust(central.home.trust, raw)
    central.reopen()
    assert central.authority.absorb(honest).outcome == "merged"
    for path in (forged, later):
        found = central.authority.absorb(path)
        assert (found.outcome, found.code) == ("parked", "revoked-key")
    assert fsck(central.home)["attempts"] == 1


def _id(central: Central, path: Path) -> str:
    view = central.authority._w.trust
    with open_bundle(path, view, audience=None, kinds=frozenset(Kind)) as bundle:
        return str(bundle.id)


def test_fast_forward_of_a_site_stream_blocks_nothing(central: Central) -> None:
    site = central.site()
    held = work_of(central, site, 2)
    one, two = (site.play(held, lease) for lease in held.leases[:2])
    top = site.result([one], told=False, sequence=2**63 - 1)
    assert central.authority.absorb(top).outcome == "merged"
    assert central.authority.absorb(site.result([two])).outcome == "merged"
    (row,) = central.authority.sites()
    (gaps,) = row["gaps"].values()
    assert gaps
    site.clock_us += 1
    assert central.authority.absorb(site.report(100_000)).outcome == "merged"
    for bundle in central.authority.outbox(site.name):
        site.take(central.authority.outgoing(site.name, bundle.id))  # the receipts can be read


def test_rollback_an_old_report_or_result_undoes_nothing(central: Central) -> None:
    site = central.site()
    old_report = site.report(7)
    held = work_of(central, site, 4)
    results = [site.result([site.play(held, one)], told=False) for one in held.leases]
    for path in results:
        assert central.authority.absorb(path).outcome == "merged"
    newest = site.report(1000)
    assert central.authority.absorb(newest).outcome == "merged"
    before = fsck(central.home)["state_hash"]
    central.authority.absorb(old_report)
    for path in random.Random(3).sample(results, len(results)) * 5:
        assert central.authority.absorb(path).outcome == "merged"
    assert fsck(central.home)["state_hash"] == before
    (row,) = central.authority.sites()
    assert row["report"]["tasks_wanted"] == 1000


def test_replay_in_any_order_gives_one_state(central: Central) -> None:
    """Each bundle five times in two orders, at two copies of one central."""
    site = central.site()
    held = work_of(central, site, 6)
    results = [site.result([site.play(held, one)], told=False) for one in held.leases]
    central.authority.close()
    hashes = set()
    for seed in range(2):
        folder = Path(tempfile.mkdtemp(dir=central.folder))
        shutil.copytree(central.home.root, folder / "central")
        home = replace(central.home, root=folder / "central")
        authority = Authority.open(home, central.config, clock_us=central.clock)
        for path in random.Random(seed).sample(results * 5, len(results) * 5):
            assert authority.absorb(path).outcome == "merged"
        authority.close()
        found = fsck(home)
        assert found["ok"], found["problems"]
        hashes.add(found["state_hash"])
    assert len(hashes) == 1
    central.authority = Authority.open(central.home, central.config, clock_us=central.clock)


def test_indefinite_freeze_of_a_site_is_told_and_late_results_still_merge(
    central: Central, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = central.site()
    report = site.report(100_000)
    assert central.authority.absorb(report).outcome == "merged"
    held = work_of(central, site, 2)
    late = site.result([site.play(held, one) for one in held.leases])
    assert not central.authority.sites()[0]["silent"]
    central.clock.pass_hours(SILENT_AFTER_S / 3600 + 1)
    central.authority.absorb(report)  # what was brought before is brought again: no news
    assert central.authority.sites()[0]["silent"]
    monkeypatch.setattr("central.doctor.now_us", central.clock)
    (finding,) = [one for one in examine(central.home, central.config) if "site north" in one.name]
    assert "14 days" in finding.found
    assert finding.remedy
    assert central.authority.absorb(late).outcome == "merged"
    assert not central.authority.sites()[0]["silent"]
    assert not [one for one in examine(central.home, central.config) if "site " in one.name]
    central.fsck()


def test_equivocation_is_kept_and_told_and_blocks_nobody(central: Central) -> None:
    site = central.site()
    held = work_of(central, site, 3)
    one, two, three = (site.play(held, lease) for lease in held.leases[:3])
    number = site.sequence
    for played in (one, two):
        path = site.result([played], told=False, sequence=number)
        assert central.authority.absorb(path).outcome == "merged"
    assert central.authority._w.store.bundles.tallies()["equivocation"] == 1
    central.fsck()
    site.sequence = number + 1
    assert central.authority.absorb(site.result([three])).outcome == "merged"
    assert not list(central.home.quarantine.iterdir())


def test_an_incarnation_that_never_was_speaks_for_nobody(central: Central) -> None:
    """A site that says it received from streams and epochs of the far future gets its work."""
    site = central.site()
    site.received = {StreamId(b"f" * 16): site.received.get(StreamId(b""), _everything())}
    draft = replace(site.draft(Kind.REPORT), epoch=Epoch(2**62, b"f" * 16), commit=2**62)
    raw = reports.encode(Report(1, 100, 1, 1))
    path = site.write(draft, [ChunkSource(reports.CHUNK, reports.CHUNK, 1, raw)])
    assert central.authority.absorb(path).outcome == "merged"
    central.submit(chain(jobs=1, fan_in=False))
    assert central.authority.outbox(site.name)
    with pytest.raises(TrustRefused):
        enrolment.check_request(path.read_bytes())


def _everything() -> IntervalSet:
    return IntervalSet(((0, 2**63 - 1),))
