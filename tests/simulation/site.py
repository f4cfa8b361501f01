"""A site: a real relay over a real spool, its pilots, its courier, and what befalls its disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bundle.errors import PulkError
from bundle.ids import BundleId, StreamId
from bundle.spool.layout import FOLDERS
from bundle.wire.manifest import Kind
from relay import custody, enrol
from relay.errors import OtherTick
from relay.home import Home as RelayHome
from relay.home import open_home
from relay.lock import NAME as LOCK
from relay.tick import Ticked, tick
from site_adapters.contract import PilotState
from tests.simulation.courier import Courier
from tests.simulation.disk import Episode, Unsynced
from tests.simulation.faults import Fault
from tests.simulation.machine import DAY_US, HOUR_US
from tests.simulation.pilots import Scheduler

if TYPE_CHECKING:
    from tests.simulation.world import World

YEAR_US = 365 * DAY_US
TICK_OPERATIONS = 60  # so many operations a busy tick has, about
CONFIG = """[status]
folder = ""
[site]
name = "{name}"
[spool]
free_bytes_min = 0
free_inodes_min = 0
[pilots]
count = 2
slots = 1
[capacity]
tasks_wanted = {tasks}
[carry]
resend_after_s = {resend}
resend_gap_after_s = 7200
resend_unanswered_after_s = 14400
report_after_s = {report}
telemetry = {telemetry}
"""


class Site:
    """One relay's folder and all that works on it. `name` is the site's, `label` this folder's."""

    def __init__(self, world: World, name: str, trip_us: int, label: str = "") -> None:
        self.world, self.name, self.label = world, name, label or name
        self.chance = world.machine.chance(f"site {self.label}")
        self.folder = world.folder / self.label
        self.skew_us = 0
        self.interval_us = int(self.chance.uniform(2, 8) * HOUR_US)
        self.spool_number = world.next_spool()
        self.scheduler = Scheduler(self)
        self.old_home: RelayHome | None = None  # with the key before this one
        self.is_gone = False
        self._copy_taken: Path | None = None
        self._idle = 0
        if not label:
            self._make(trip_us)
        self.open()
        self.courier = Courier(self, trip_us)

    def _make(self, trip_us: int) -> None:
        """Make the relay and enrol it, both fingerprints compared."""
        made = enrol.init(self.folder, self.name, "")
        text = CONFIG.format(
            name=self.name,
            tasks=self.chance.choice((3, 10, 40)),
            resend=max(self.chance.choice((6, 48)) * 3600, 3 * trip_us // 1_000_000),
            report=max(21600, trip_us // 1_000_000),
            telemetry=str(self.chance.random() < 0.3).lower(),
        )
        (self.folder / "relay.toml").write_text(text)
        self._accept(made)

    def _accept(self, made: enrol.Made) -> None:
        answer = self.world.folder / f"{self.label}.answer"
        answer.write_bytes(self.world.center.enrol(made.request.read_bytes(), made.fingerprint))
        enrol.accept(self.folder, answer, self.world.center.root_words())

    def open(self) -> None:
        """Read the relay's folder as a relay that starts does."""
        self.home = replace(open_home(self.folder), adapter=self.scheduler)
        self.spool = self.home.spool

    def begin(self) -> None:
        """Let ticks and trips happen from now on."""
        machine = self.world.machine
        machine.after(self.chance.uniform(0, self.interval_us), self._tick_on)
        if self.courier.trip_us:
            machine.after(self.chance.uniform(0, HOUR_US), self._visit_on)

    def is_settled(self) -> bool:
        """Whether no pilot waits or runs here."""
        return all(one.state is PilotState.ABSENT for one in self.scheduler.pilots.values())

    # -- ticks ---------------------------------------------------------------------------

    def _tick_on(self) -> None:
        if self.is_gone:
            return
        done = self.tick()
        is_quiet = not self.world.faulty and done is not None and not _did(done)
        self._idle = min(self._idle + 1, 4) if is_quiet else 0
        pause_us = self.interval_us * 2**self._idle
        self.world.machine.after(pause_us * self.chance.uniform(0.8, 1.2), self._tick_on)

    def _visit_on(self) -> None:
        if self.is_gone:
            return
        self.courier.visit_central()
        pause_us = max(self.courier.trip_us, HOUR_US)
        self.world.machine.after(pause_us * self.chance.uniform(0.5, 1.5), self._visit_on)

    def tick(self) -> Ticked | None:
        """One tick of the relay, with whatever befalls it; None where it did not come through."""
        before = self._results()
        kind = self._mishap()
        with self.world.machine.clock(self.skew_us):
            done = self._ticked(kind)
        left = self._results()
        gone = {one: number for one, number in before.items() if one not in left}
        self.world.checks.after_tick(self, gone)
        if done is not None:
            self.world.machine.tell(
                self.label, *(f"{k}={v}" for k, v in done.document().items() if v)
            )
            if done.salvaged:
                self.world.fire(Fault.SALVAGED, self.label)
        return done

    def _results(self) -> dict[BundleId, tuple[StreamId, int]]:
        held = custody.every_held(self.spool)
        return {one.id: (one.stream, one.sequence) for one in held if one.kind is Kind.RESULT}

    def _mishap(self) -> Fault | None:
        if not self.world.faulty or self.chance.random() > self.world.plan.relay_dies:
            return None
        kinds = (Fault.RELAY_KILLED, Fault.RELAY_POWER, Fault.DISK_FULL, Fault.TWO_RELAYS)
        return self.chance.choice((*kinds, Fault.ADAPTER_BLIND))

    def _ticked(self, kind: Fault | None) -> Ticked | None:
        if kind is None:
            return self._run(lambda: tick(self.home, self.courier))
        if kind is Fault.ADAPTER_BLIND:
            self.world.fire(kind, self.label)
            self.scheduler.blind = True
            try:
                return self._run(lambda: tick(self.home, self.courier))
            finally:
                self.scheduler.blind = False
        unsynced, happens = None, None
        if kind is Fault.RELAY_POWER:
            shadow = self.world.folder / "shadow"
            shutil.rmtree(shadow, ignore_errors=True)
            shadow.mkdir()
            unsynced = Unsynced(shadow)
        elif kind is Fault.DISK_FULL:
            happens = _disk_full
        elif kind is Fault.TWO_RELAYS:
            happens = self._second_relay
        episode = Episode(self.chance.randint(1, TICK_OPERATIONS), happens, unsynced)
        done = None
        with self.world.machine.disk.running(episode):
            done = self._run(lambda: tick(self.home, self.courier))
        if episode.came or unsynced is not None:
            self.world.fire(kind, self.label)
        if unsynced is not None:
            unsynced.lose(self.spool.root, self.chance.randint(0, len(unsynced.names)))
        if episode.dead or unsynced is not None:
            return None
        return done

    def _run(self, work: Callable[[], Ticked]) -> Ticked | None:
        """As the daemon does: what is transient, or the disk, is tried again at the next tick."""
        try:
            return work()
        except PulkError as error:
            if not error.transient:
                raise
            self.world.machine.tell(self.label, "put off", error.code)
        except OSError as error:
            self.world.machine.tell(self.label, "put off", errno.errorcode[error.errno or 0])
        return None

    def _second_relay(self) -> None:
        """Another login node's tick, whose lock does not hold on this filesystem."""
        lock = self.spool.root / LOCK
        held = lock.read_bytes() if lock.exists() else None
        lock.unlink(missing_ok=True)
        with suppress(OtherTick):
            self._run(lambda: tick(self.home, self.courier))
        if held is not None and not lock.exists():
            lock.write_bytes(held)

    # -- what befalls the spool ----------------------------------------------------------

    def purge(self) -> None:
        """Whoever owns the scratch space emptied it; keys and configuration were elsewhere."""
        self._destroyed(Fault.SPOOL_PURGED)
        for name in (*FOLDERS, "state"):
            shutil.rmtree(self.spool.folder(name), ignore_errors=True)
        self.open_spool()

    def vanish(self) -> None:
        """Nothing of it ever comes again; of what is not a copy, the last site of a world stays."""
        stay = [one for one in self.world.sites if one.label == one.name and one is not self]
        if self.is_gone or not stay:
            return
        self.world.fire(Fault.DISCONNECTED, self.label, "for good")
        self._destroyed(Fault.SPOOL_PURGED)
        self.is_gone = True
        self.world.sites.remove(self)

    def copy_aside(self) -> None:
        """Somebody takes a copy of the spool."""
        self._copy_taken = self.world.folder / f"{self.label}-copy"
        shutil.rmtree(self._copy_taken, ignore_errors=True)
        shutil.copytree(self.folder, self._copy_taken)

    def put_back(self) -> None:
        """The copy is put back in place of what is there."""
        if self._copy_taken is None:
            return
        self._destroyed(Fault.SPOOL_OLD)
        for name in (*FOLDERS, "state"):
            shutil.rmtree(self.spool.folder(name), ignore_errors=True)
            if (self._copy_taken / name).exists():
                shutil.copytree(self._copy_taken / name, self.spool.folder(name))
        self.open_spool()

    def split(self) -> None:
        """The folder is copied to another filesystem, and both go on."""
        label = f"{self.name}-moved"
        if self.is_gone or (self.world.folder / label).exists():
            return
        shutil.copytree(self.folder, self.world.folder / label)
        (self.world.folder / label / LOCK).unlink(missing_ok=True)
        twin = Site(self.world, self.name, self.courier.trip_us, label)
        self.world.sites.append(twin)
        self.world.fire(Fault.SPOOL_COPIED, label)
        twin.begin()

    def end(self) -> None:
        """A copy that was found out hands over what it has, and is no more."""
        self.spool.drain.touch()  # no pilot is started any more
        for pilot in self.scheduler.pilots.values():
            pilot.die()
        for _ in range(3):
            self.tick()
        for held in custody.every_held(self.spool):
            path = self.spool.folder(held.place) / custody.file_name(held)
            self.world.center.absorb(path.read_bytes())
        self.is_gone = True
        self.world.sites.remove(self)

    def open_spool(self) -> None:
        """A new spool under the same name."""
        self.spool_number = self.world.next_spool()

    def _destroyed(self, fault: Fault) -> None:
        for pilot in self.scheduler.pilots.values():
            pilot.die()
        safe = set(self.world.covered())
        lost = self.world.ledger.destroyed(self.spool_number, but=safe)
        self.world.fire(fault, self.label, lost)

    def lose_output(self) -> None:
        """A file in `data/` is deleted by somebody who was short of space."""
        files = sorted(one for one in self.spool.folder("data").glob("??/*") if one.is_file())
        if files:
            self.chance.choice(files).unlink()
            self.world.fire(Fault.OUTPUT_GONE, self.label)

    def rotate_key(self) -> None:
        """Take a new site key; bundles signed with the old one are still under way."""
        if not self.world.center.is_up:
            return
        self.old_home = self.home
        self._accept(enrol.init(self.folder, self.name, "", new_key=True))
        self.open()
        self.world.fire(Fault.SITE_KEY_ROTATED, self.label)


def _disk_full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _did(done: Ticked) -> bool:
    said = done.document()
    return any(said[name] for name in said if name not in ("idle", "trouble"))
