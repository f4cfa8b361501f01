"""One world from one seed: built, played with faults, then without, until all has ended."""

from __future__ import annotations

import atexit
import logging
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bundle.ids import StreamId
from central.backup_record import POOL
from central.blob.folder import FolderBlobs
from central.fsck import fsck
from central.home import Home
from central.rebuild import rebuild
from tests.simulation.center import Center, make_template
from tests.simulation.checks import Checks
from tests.simulation.faults import Fault, Fired
from tests.simulation.ledger import Archived, Key, Ledger, Said
from tests.simulation.machine import DAY_US, HOUR_US, Machine
from tests.simulation.payloads import Payloads
from tests.simulation.site import YEAR_US, Site
from tests.simulation.users import User

MEMORY = Path("/dev/shm")  # a world syncs some thousand times
LOOK_US = 12 * HOUR_US


@dataclass(frozen=True, slots=True)
class Plan:
    """What a seed makes of a world: its size, and how often things go wrong in it."""

    sites: int
    datasets: int
    controls: int
    days: float
    mishaps: float
    forging: float
    relay_dies: float
    central_dies: float
    failing: float
    poison: float
    differing: float
    restore: str  # "", "database", "folder" or "snapshot"
    calm_days: float = 80.0  # without faults, until all must have ended
    mischief: tuple[str, ...] = ()  # happenings that come for certain, besides drawn ones

    @classmethod
    def draw(cls, chance: random.Random) -> Plan:
        """Draw a plan."""
        return cls(
            sites=chance.randint(1, 3),
            datasets=chance.randint(1, 3),
            controls=chance.choice((0, 2, 4)),
            days=chance.uniform(3, 8),
            mishaps=chance.choice((0.0, 0.1, 0.25)),
            forging=chance.choice((0.0, 0.1)),
            relay_dies=chance.choice((0.0, 0.1, 0.25)),
            central_dies=chance.choice((0.0, 0.03, 0.1)),
            failing=chance.choice((0.05, 0.2)),
            poison=chance.choice((0.0, 0.03)),
            differing=chance.choice((0.0, 0.5)),
            restore=chance.choice(("", "database", "folder", "folder", "snapshot")),
        )


Planned = Callable[[Plan], Plan]


class World:
    """See the module. `faulty`: whether things still go wrong."""

    def __init__(self, seed: int, folder: Path, planned: Planned | None = None) -> None:
        self.seed, self.folder = seed, folder
        self.machine = Machine(seed)
        self.chance = self.machine.chance("world")
        drawn = Plan.draw(self.machine.chance("plan"))
        self.plan = planned(drawn) if planned else drawn
        self.faulty = True
        self.faulty_us = int(self.plan.days * DAY_US)
        self.task_ms = 2 * 3600 * 1000
        self.fired: Fired = Fired()
        self.ledger = Ledger()
        self.equivocated: set[tuple[StreamId, int]] = set()
        self._spools = 0
        self.sites: list[Site] = []

    def fire(self, fault: Fault, *where: object) -> None:
        """Count a fault that happens now."""
        self.fired[fault] += 1
        self.machine.tell("fault:", fault.value, *where)

    def next_spool(self) -> int:
        """Return the number of a new spool."""
        self._spools += 1
        return self._spools

    def archived(self) -> dict[Key, Said]:
        """Return every attempt that lies in central's archive."""
        return self._archived.of(self.center.home.archive)

    def covered(self) -> dict[Key, Said]:
        """Return the attempts that no single disk can lose, as central's configuration has it."""
        center = self.center
        return self.archived() if center.copies == 1 else self._archived.of(center.pool / POOL)

    def contested(self) -> set[Key]:
        """Return the attempts of which two contents lie in the archive."""
        return self._archived.contested

    def run(self) -> None:
        """Play the world to its end. Raises AssertionError where an invariant breaks."""
        with self.machine.running(), _two_disks():
            self._build()
            self._play()
            try:
                self._end()
            finally:
                self.center.authority.close()

    def _build(self) -> None:
        for name in ("central", "central-root"):
            shutil.copytree(template() / name, self.folder / name)
        self.checks, self.payloads = Checks(self), Payloads(self)
        self.user = User(self)
        names = ("north", "east", "south")[: self.plan.sites]
        trips_us = [
            self.chance.choice((0, int(self.chance.uniform(4, 40) * HOUR_US))) for _ in names
        ]
        copies = 2 if self.plan.restore in ("folder", "snapshot") else 1
        self.center = Center(self, copies, 30 + 6 * max(trips_us) / HOUR_US)
        self._archived = Archived(self.center.trust())
        for name, trip_us in zip(names, trips_us, strict=True):
            self.sites.append(Site(self, name, trip_us))
        for site in self.sites:
            site.begin()
        self.user.begin(self.plan.datasets)
        self._plan_mischief()

    def _at(self) -> float:
        return self.chance.uniform(0.1, 1) * self.faulty_us

    def _plan_mischief(self) -> None:
        machine, chance = self.machine, self.chance
        center = self.center
        for _ in range(3):
            machine.after(self._at() * 0.7, center.back_up)
        restore = {"database": center.restore_database, "folder": center.restore}
        if self.plan.restore in restore:
            for _ in range(chance.randint(1, 3)):
                machine.after(self._at(), restore[self.plan.restore])
        elif self.plan.restore:
            taken_us = 0.6 * self._at()
            machine.after(taken_us, center.take_snapshot)
            for days in sorted(chance.uniform(0.3, 4) for _ in range(2)):
                machine.after(taken_us + days * DAY_US, center.set_back)
        for _ in range(chance.randint(0, 4)):
            site = chance.choice(self.sites)
            machine.after(self._at(), chance.choice(list(self._happenings(site).values())))
        for name in self.plan.mischief:
            for site in self.sites:
                known = {"gone for good": site.vanish, **self._happenings(site)}
                machine.after(self._at(), known[name])

    def _happenings(self, site: Site) -> dict[str, Callable[[], None]]:
        """Return what may befall a site once, and central, by name."""
        return {
            "purge": site.purge,
            "old copy": lambda: self._old_copy(site),
            "split": site.split,
            "lose output": site.lose_output,
            "wrong clock": lambda: self._wrong_clock(site),
            "away": lambda: self._send_away(site),
            "rotate": lambda: self._rotate(site),
            "rotate central": self._rotate_central,
            "central's clock": self._wrong_central_clock,
        }

    def _old_copy(self, site: Site) -> None:
        site.copy_aside()
        self.machine.after(self.chance.uniform(0.2, 2) * DAY_US, site.put_back)

    def _wrong_clock(self, site: Site) -> None:
        is_back = self.chance.random() < 0.5
        site.skew_us = -YEAR_US if is_back else 10 * YEAR_US
        self.fire(Fault.CLOCK_BACK if is_back else Fault.CLOCK_AHEAD, site.label)
        self.machine.after(
            self.chance.uniform(0.2, 3) * DAY_US, lambda: setattr(site, "skew_us", 0)
        )

    def _wrong_central_clock(self) -> None:
        center = self.center
        center.skew_us = int(self.chance.uniform(-3, 3) * DAY_US)
        self.fire(Fault.CENTRAL_CLOCK)
        self.machine.after(
            self.chance.uniform(0.2, 2) * DAY_US, lambda: setattr(center, "skew_us", 0)
        )

    def _send_away(self, site: Site) -> None:
        site.courier.away = True
        self.fire(Fault.DISCONNECTED, site.label)
        back_us = self.chance.uniform(3, 20) * DAY_US
        self.machine.after(back_us, lambda: setattr(site.courier, "away", False))

    def _rotate(self, site: Site) -> None:
        site.rotate_key()
        if site.old_home is not None and self.chance.random() < 0.6:
            key, delay_us = site.old_home.signer.public, self.chance.uniform(0, 1) * DAY_US
            self.machine.after(delay_us, lambda: self._revoke(key))

    def _revoke(self, key: bytes) -> None:
        if self.center.is_up and self.center.trust().trust.revocation_of(key) is None:
            self.center.revoke(key)

    def _rotate_central(self) -> None:
        if self.center.is_up:
            self.center.rotate_key()

    def _play(self) -> None:
        end_us = self.machine.now_us + self.faulty_us
        self.machine.after(LOOK_US, self._look)
        while self.machine.now_us < end_us:
            assert self.machine.step()
        self.faulty = False
        self.machine.tell("faults stop")
        self._end_us = self.machine.now_us + int(self.plan.calm_days * DAY_US)
        self._over, self._calm = False, False
        while not self._over:
            assert self.machine.step()

    def _look(self) -> None:
        """See whether all has ended; let people do at last what only they can."""
        self.machine.after(LOOK_US, self._look)
        if not self.center.is_up:
            return
        self.center.take_over()
        if self.faulty:
            return
        self.user.retry()
        if not self._calm:
            self._calm = True
            self.user.calm()
        for one in [one for one in self.sites if one.label != one.name]:
            one.end()
        if self.center.parked() and self.center.trust().trust.revocations:
            self.center.requalify()
        if self.center.copies > 1:
            self.center.back_up()
        waits = [one.label for one in self.sites if not one.is_settled()]
        if not waits and self.checks.is_over(self.center.picture()) and not self.checks.missing():
            self._over = True
        elif self.machine.now_us > self._end_us:
            missing = sorted(self.checks.missing())[:3]
            open_ = self.checks.still_open(self.center.picture())
            raise AssertionError(f"I12: no end: {waits=} {open_=} {missing=}")

    def _end(self) -> None:
        self.checks.at_the_end(self.center.picture())
        self.center.authority.close()
        found = fsck(self.center.home)
        assert found["ok"], found["problems"]
        again = rebuild(
            Home(self.folder / "again"), self.center.home.archive, self.center.home.trust,
            shuffle=self.seed, repeat=1 + self.seed % 2,
        )  # fmt: skip
        assert again["ok"], again["problems"]
        for name in ("state_hash", "done", "wall_ms", "attempts"):
            assert again[name] == found[name], (
                f"I5: rebuilt, {name} is another: parked {again['parked']}, "
                f"refused {again['refused']}, {again['done']}, was {found['done']}"
            )
        self.machine.tell("end", found["state_hash"])


@cache
def template() -> Path:
    """Return a folder with a new central, made once for this process."""
    folder = Path(tempfile.mkdtemp(prefix="pulk-template-", dir=_base()))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    machine = Machine(-1)
    with machine.running():
        make_template(folder)
    return folder


@contextmanager
def _two_disks() -> Iterator[None]:
    """Let folders of backups lie on a device of their own."""
    real = FolderBlobs.place
    FolderBlobs.place = property(lambda self: str("backups" in self.root.parts))  # type: ignore
    try:
        yield
    finally:
        FolderBlobs.place = real  # type: ignore[method-assign]


def _base() -> Path | None:
    return MEMORY if MEMORY.is_dir() else None


@contextmanager
def world(seed: int, planned: Planned | None = None) -> Iterator[World]:
    """Make a world in a folder of its own; an exception names its seed."""
    template()
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix=f"pulk-world-{seed}-", dir=_base()))
    made = World(seed, folder, planned)
    try:
        yield made
    except (Exception, KeyboardInterrupt) as error:
        error.add_note(f"world of seed {seed}: python -m tests.simulation {seed}")
        raise
    finally:
        logging.disable(before)
        shutil.rmtree(folder, ignore_errors=True)


def play(seed: int, planned: Planned | None = None) -> World:
    """Play a world to its end and return it."""
    with world(seed, planned) as made:
        made.run()
    return made
