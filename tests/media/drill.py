"""The media drill: a real central and a real relay, with nothing between but bad directories."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections import Counter
from pathlib import Path

from bundle.dataset.spec import Command, Dataset, Output, Step
from bundle.fates import Fate
from bundle.ids import SiteName
from bundle.intervals import IntervalSet
from bundle.media.choose import PART_BYTES_MAX
from bundle.media.goods import goods_in
from bundle.media.sight import look
from bundle.records.attempt import Attempt
from bundle.spool import publish
from bundle.trust import fingerprint
from bundle.wire.manifest import Kind
from central import rebuild, stick
from central.home import Home as CentralHome
from relay import custody, enrol, exchange, state
from relay.home import open_home
from relay.tick import tick
from tests.central.conftest import Central
from tests.media.lossy import Courier
from tests.relay.world import SITE, Pilot

JOBS = 6
OUTPUT_BYTES = 9000
CONFIG = f"""[site]
name = "{SITE}"
[spool]
free_bytes_min = 0
free_inodes_min = 0
[pilots]
count = 0
[carry]
resend_after_s = 0
resend_gap_after_s = 0
report_after_s = 0
[capacity]
tasks_wanted = {4 * JOBS}
"""


class BulkyPilot(Pilot):
    """A pilot whose tasks write what no compression makes small, so that bundles have a size."""

    def _attempt(self, job: int, local: int) -> Attempt:
        raw = random.Random(job).randbytes(OUTPUT_BYTES)
        digest = hashlib.sha256(raw).digest()
        publish.make_folder(self.spool.data(digest).parent)
        self.spool.data(digest).write_bytes(raw)
        outputs = ((digest, len(raw)),)
        return Attempt(job, 0, 0, local, Fate.SUCCESS, 0, 0, 1, 1, 2, 0, outputs=outputs)


class Drill:
    """One central, one site, a courier each way."""

    def __init__(
        self, root: Path, seed: int, *, part_bytes: int = PART_BYTES_MAX, is_bad: bool = True
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root, self.trips, self.part_bytes = root, 0, part_bytes
        self.out = Courier(random.Random(seed), is_bad)
        self.back = Courier(random.Random(seed + 1), is_bad)
        self.central = Central(root, shard_tasks_max=2)
        authority = self.central.authority
        made = enrol.init(root / "site", SITE, "")
        answer = root / "answer"
        answer.write_bytes(authority.enrol(made.request.read_bytes(), made.fingerprint))
        words = fingerprint.of_roots(authority._w.trust.trust)
        enrol.accept(root / "site", answer, words)
        (root / "site" / "relay.toml").write_text(CONFIG)
        self.originals = root / "originals"
        self.born: dict[str, int] = {}
        self.ended: dict[str, int] = {}
        self.ran = 0
        self.jobs = 0

    def submit(self) -> None:
        """Ask for more work."""
        step = Step("generate", Command(("/bin/true",)), outputs=(Output("out"),))
        self.central.submit(Dataset(f"wave {self.jobs}", JOBS, self.jobs, (step,)))
        self.jobs += JOBS

    def trip(self) -> None:
        """Pilots run, a courier goes to central and comes back."""
        self.trips += 1
        home = open_home(self.root / "site")
        pilot = BulkyPilot.start(home.spool)
        while (header := pilot.take()) is not None:
            _, attempts = pilot.journal(header, pilot.jobs(header))
            self.ran += len(attempts)
            pilot.seal(header, attempts)
        pilot.end()
        filled = self._dir("filled")
        done = exchange.export_to(home, filled, part_bytes=self.part_bytes)
        assert not done.left
        self._keep(home.spool.root)
        self._bear(filled)
        self.out.carry(filled, self.root / f"{self.trips}-at-central")
        back = self._at_central(self.root / f"{self.trips}-at-central")
        self._bear(back)
        self.back.carry(back, self.root / f"{self.trips}-at-site")
        exchange.import_from(home, self.root / f"{self.trips}-at-site")
        self._end()
        self.check_gaps()
        tick(home)
        for folder in self.root.glob(f"{self.trips}-*"):
            shutil.rmtree(folder)

    def check_gaps(self) -> None:
        """Hold what both ends say is missing against the couriers' accounts."""
        (row,) = self.central.authority.sites()
        assert row["gaps"] == _gaps(self.out), (row["gaps"], _gaps(self.out))
        received = state.read_received(open_home(self.root / "site").spool)
        said = {stream.hex(): numbers.gaps().to_wire() for stream, numbers in received.items()}
        assert said == _gaps(self.back), (said, _gaps(self.back))

    def is_done(self) -> bool:
        """Whether all tasks are done at central and no result waits at the site."""
        rows = self.central.authority.datasets()
        if any(self.central.counts(row["id"]) != [{"done": JOBS}] for row in rows):
            return False
        held = custody.every_held(open_home(self.root / "site").spool)
        return not any(one.kind is Kind.RESULT for one in held)

    def check_end(self) -> None:
        """Everything is done, once; nothing waits; as if nothing had ever been lost."""
        assert self.is_done()
        found = self.central.fsck()
        assert found["attempts"] == self.ran
        assert not self._waiting(open_home(self.root / "site").parts)
        assert not self._waiting(self.central.home.root / stick.PARTS)
        assert self._without_loss() == found["state_hash"]

    def _without_loss(self) -> object:
        """Return the state hash of a central that got every bundle once, from a copy kept apart."""
        for good in self.central.home.archive.glob("??/*.pulk"):
            if look(good).facts.producer == "central":
                self._original(good)
        fresh = CentralHome(self.root / "fresh")
        trust = self.central.home.trust
        made = rebuild.rebuild(fresh, self.originals, trust, shuffle=None, repeat=1)
        assert made["merged"] == made["files"]
        return made["state_hash"]

    def _waiting(self, parts: Path) -> list[Path]:
        """Return the parts that wait, but for those of a report of the last trip."""
        return [path for path in parts.iterdir() if look(path).facts.kind is not Kind.REPORT]

    def _at_central(self, came: Path) -> Path:
        authority, home = self.central.authority, self.central.home
        stick.absorb_all(authority, home, came)
        back = self._dir("back")
        sites = [SiteName(SITE)]
        _, filled = stick.leave_outboxes(authority, home, sites, back, part_bytes=self.part_bytes)
        assert not filled.left
        return back

    def _bear(self, medium: Path) -> None:
        for good in goods_in(medium):
            self.born.setdefault(good.ware.facts.id, self.trips)

    def _end(self) -> None:
        for one in self.out.arrived() | self.back.arrived():
            self.ended.setdefault(one, self.trips)

    def _keep(self, spool: Path) -> None:
        for path in (*spool.glob("out/*.pulk"), *spool.glob("sent/*.pulk")):
            if look(path).facts.kind is not Kind.REPORT:
                self._original(path)

    def _original(self, path: Path) -> None:
        bundle = look(path).facts.id
        target = self.originals / bundle[:2] / f"{bundle}.pulk"
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy(path, target)

    def _dir(self, name: str) -> Path:
        made = self.root / f"{self.trips}-{name}"
        made.mkdir()
        return made


def trips_taken(drill: Drill) -> Counter[int]:
    """Return how many bundles took how many trips."""
    return Counter(ended - drill.born[one] + 1 for one, ended in drill.ended.items())


def _gaps(courier: Courier) -> dict[str, list[list[int]]]:
    numbers: dict[str, set[int]] = {}
    for one in courier.arrived():
        stream, sequence = courier.places[one]
        numbers.setdefault(stream.hex(), set()).add(sequence)
    return {stream: IntervalSet.of(found).gaps().to_wire() for stream, found in numbers.items()}
