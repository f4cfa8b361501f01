"""A real central, real relays with pilots that pretend only the payload, backups and disasters.

Bundles pass by calls instead of HTTP; everything else is what the programs do. A ledger beside
them notes every attempt that a pilot sealed: what is in it must be counted in the end, once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bundle.dataset import spec
from bundle.ids import BundleId, DatasetId, SiteName
from bundle.trust import fingerprint, trust_file
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from central import attempts
from central import backup as backups
from central import config as configs
from central import home as homes
from central.archive import open_archive
from central.attempts import Wanted
from central.authority import Authority
from central.backup import KEYS, Made
from central.config import Config
from central.fsck import fsck
from central.home import Home
from central.restore import Restored, restore
from relay import enrol
from relay import tick as ticks
from relay.carrier.contract import Answer, Outgoing
from relay.errors import CarryFailed
from relay.home import Home as RelayHome
from relay.home import open_home as open_relay
from tests.central.conftest import Clock
from tests.relay.world import Pilot, a_dataset

SHM = Path("/dev/shm")
CENTRAL = """[archive]
copies = {copies}
{more}
[planner]
shard_tasks_max = 5
lease_hours = 48
"""
RELAY = """[site]
name = "{name}"
[spool]
free_bytes_min = 0
free_inodes_min = 0
[pilots]
count = 0
[capacity]
tasks_wanted = 40
[carry]
resend_after_s = 0.001
resend_gap_after_s = 0.001
resend_unanswered_after_s = 0.001
report_after_s = 0.001
telemetry = false
"""


class Direct:
    """A carrier that hands bundles over by a call; `broken` says when the way is cut."""

    def __init__(self, world: World, site: SiteName) -> None:
        self.world, self.site = world, site

    def send(self, bundle: Outgoing) -> Answer | None:
        self._way()
        copy = self.world.home.uploads / os.urandom(6).hex()
        shutil.copyfile(bundle.path, copy)
        shutil.copyfile(bundle.path, self.world.carried / f"{len(self.world.sent):06d}")
        self.world.sent.append(bundle.id)
        try:
            found = self.world.central.absorb(copy)
        finally:
            copy.unlink()
        return Answer(found.outcome.value)

    def fetch(self, known: Callable[[BundleId], bool], into: Path) -> Iterator[Path]:
        self._way()
        for one in self.world.central.outbox(self.site):
            if known(one.id):
                continue
            self._way()
            target = into / f"{one.id}.pulk"
            shutil.copyfile(self.world.central.outgoing(self.site, one.id), target)
            yield target

    def _way(self) -> None:
        if self.world.random.random() < self.world.cut:
            raise CarryFailed(where=self.site, method="carry", reason="the way is cut")


@dataclass
class Site:
    """One real relay; its spool may be destroyed."""

    name: SiteName
    home: RelayHome
    alive: bool = True
    ledger: set[tuple[Any, ...]] = field(default_factory=set)


@dataclass
class World:
    """See the module. `disk` and `other` are folders on two devices."""

    disk: Path
    other: Path
    seed: int
    copies: int = 2
    more: str = ""  # lines for [archive] in central.toml
    cut: float = 0.0
    clock: Clock = field(default_factory=Clock)
    sites: dict[SiteName, Site] = field(default_factory=dict)
    documents: dict[DatasetId, bytes] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    sent: list[BundleId] = field(default_factory=list)
    lost_archives: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.scratch = self.other / "scratch"
        self.backups = self.other / "backups"
        self.keys = self.other / "keys"
        self.carried = self.other / "carried"
        for folder in (self.scratch, self.keys, self.carried):
            folder.mkdir(parents=True)
        homes.create(self.home, self.other / "root", self.copies)
        self.home.config.write_text(CENTRAL.format(copies=self.copies, more=self.more))
        for name in KEYS:
            shutil.copy(self.home.root / name, self.keys / name)
        self.central = self.open()

    @property
    def home(self) -> Home:
        return Home(self.disk / "central")

    @property
    def config(self) -> Config:
        return configs.load(self.home.config, {})

    def open(self, home: Home | None = None) -> Authority:
        place = homes.open_home((home or self.home).root)
        return Authority.open(place, self.config, clock_us=self.clock)

    def reopen(self) -> None:
        self.central.close()
        self.central = self.open()

    def add_site(self, name: str) -> Site:
        folder = self.other / f"site-{name}-{os.urandom(3).hex()}"
        made = enrol.init(folder, name, "")
        answer = self.scratch / "answer"
        answer.write_bytes(self.central.enrol(made.request.read_bytes(), made.fingerprint))
        words = fingerprint.of_roots(trust_file.load(self.home.trust))
        enrol.accept(folder, answer, words)
        (folder / "relay.toml").write_text(RELAY.format(name=name))
        site = self.sites[SiteName(name)] = Site(SiteName(name), open_relay(folder))
        return site

    def submit(self, jobs: int) -> DatasetId:
        raw = spec.encode(a_dataset(jobs))
        made = self.central.submit(raw, idempotency_key=os.urandom(8).hex(), token_id=1)
        self.documents[made.id] = raw
        return made.id

    def tick(self, site: Site) -> ticks.Ticked:
        """One tick of a site with its carrier."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ticks, "carrier_of", lambda _home: Direct(self, site.name))
            return ticks.tick(site.home, at_once=True)

    def run_pilot(self, site: Site, shards: int) -> int:
        """Run at most so many shards; the ledger notes each attempt once its seal is published."""
        pilot = Pilot.start(site.home.spool)
        pilot.site = site.name
        done = 0
        while done < shards and (header := pilot.take()) is not None:
            tasks = pilot.jobs(header)
            _, attempts = pilot.journal(header, tasks)
            pilot.seal(header, attempts)
            site.ledger |= {
                (header.dataset, one.job, one.step, header.lease, header.pilot_run, one.local)
                for one in attempts
            }
            done += 1
        if not any(site.home.spool.claimed(pilot.run).glob("*.journal")):
            pilot.end()
        return done

    def backup(self, **how: Any) -> Made:
        """Back central up to the other device, as the command does."""
        at = self.clock.now_us / 1_000_000
        options: dict[str, Any] = {"with_keys": False, "keep": 0, "at": at} | how
        archive = open_archive(self.home, self.config)
        return backups.backup(self.home, archive, self.central, self.backups, **options)

    def lose_central(self) -> Path:
        """The disk dies. What lay there is kept aside for the test to compare with."""
        self.central.close()
        aside = self.disk / f"lost-{len(self.lost_archives)}"
        self.home.root.rename(aside)
        self.lost_archives.append(aside / "archive")
        return aside / "archive"

    def restore(self, source: Path | None = None, archives: tuple[Path, ...] = ()) -> Restored:
        """Restore, put the keys back, open."""
        made = restore(source or self.backups, self.home, archives=archives, clock_us=self.clock)
        for name in KEYS[:3]:
            shutil.copy(self.keys / name, self.home.root / name)
        self.central = self.open()
        return made

    def quiet(self, rounds: int = 60) -> None:
        """Faults stop: everything that can arrive arrives, all work is done."""
        self.cut = 0.0
        for _ in range(rounds):
            is_idle = True
            for site in self.alive():
                ran = self.run_pilot(site, 1000)
                is_idle &= self.tick(site).idle and not ran
            self.backup()
            if is_idle and self.all_done():
                return
        raise AssertionError(f"seed {self.seed}: never quiet: {self.told[-20:]}, {self.state()}")

    def quiet_without_safety(self) -> None:
        """All work is done; sites go on keeping what is not safe."""
        self.cut = 0.0
        for _ in range(30):
            for site in self.alive():
                self.run_pilot(site, 1000)
                self.tick(site)
            if self.all_done():
                return
        raise AssertionError(f"never done: {self.state()}")

    def alive(self) -> list[Site]:
        return [one for one in self.sites.values() if one.alive]

    def all_done(self) -> bool:
        counts = [
            step["counts"]
            for one in self.central.datasets()
            for step in self.central.counts(one["id"])["steps"]
        ]
        return all(set(one) <= {"done"} for one in counts)

    def state(self) -> dict[str, Any]:
        return {
            "health": self.central.health(),
            "counts": [self.central.counts(one["id"])["steps"] for one in self.central.datasets()],
            "out": {
                one.name: [
                    sorted(p.name for p in one.home.spool.folder(place).iterdir())
                    for place in ("in", "out", "sent", "rejected")
                ]
                for one in self.alive()
            },
        }

    def counted(self) -> list[tuple[Any, ...]]:
        """Every attempt that central counts: where its index says, in the archive."""
        w = self.central._w
        found = []
        for row in w.store.datasets.datasets():
            every = attempts.page(w, row, Wanted(), 0, 1 << 20)
            for one in (each.segment.fact(each.number) for each in every):
                found.append((row.id, one.job, one.step, one.lease, one.pilot_run, one.local))
            assert len(every) == sum(step.usage.attempts for step in w.store.tasks.steps(row.no))
        return found

    def ledger(self) -> set[tuple[Any, ...]]:
        return set().union(*(one.ledger for one in self.sites.values()))

    def check(self, gone: Set[tuple[Any, ...]] = frozenset()) -> dict[str, Any]:
        """0 lost but what is allowed to be, nothing double, fsck sound; what fsck says."""
        counted = self.counted()
        assert len(counted) == len(set(counted)), f"seed {self.seed}: counted twice"
        missing = self.ledger() - set(counted) - gone
        assert not missing, f"seed {self.seed}: {len(missing)} lost, {self.told}"
        self.central.close()
        found = fsck(self.home)
        self.central = self.open()
        assert found["ok"], (self.seed, found["problems"])
        return found

    def gather(self, into: Path) -> Path:
        """All that this central archived, and every result that any lost one ever did.

        But for those of destroyed spools that no finished backup held: their last copy is gone.
        """
        into.mkdir()
        trust, dead = self.central._w.trust, {s.name for s in self.sites.values() if not s.alive}
        lost = self.lost_archives if self.copies > 1 else []
        for archive in (self.home.archive, self.backups / "archive", *lost):
            for path in archive.glob("??/*.pulk"):
                with open_bundle(path, trust, audience=None, kinds=frozenset(Kind)) as bundle:
                    m = bundle.manifest
                is_gone = archive in self.lost_archives and m.producer in dead
                if archive == self.home.archive or (m.kind is Kind.RESULT and not is_gone):
                    target = into / path.parent.name / path.name
                    target.parent.mkdir(exist_ok=True)
                    if not target.exists():
                        shutil.copyfile(path, target)
        return into


@pytest.fixture
def other_device(tmp_path: Path) -> Iterator[Path]:
    """A folder on another device than the test's own."""
    if not SHM.is_dir() or SHM.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second device: /dev/shm is missing or is where the tests write")
    folder = SHM / f"pulk-test-{os.urandom(6).hex()}"
    folder.mkdir(mode=0o700)
    yield folder
    shutil.rmtree(folder)
