"""SIGKILL at any file operation of a tick, and two ticks at once: nothing lost, nothing twice."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle.ids import PilotRun
from bundle.wire.manifest import Kind
from relay import custody, stream, works
from relay.exchange import export_to, import_from
from relay.home import make_spool, open_home
from relay.lock import NAME as LOCK
from relay.tick import tick
from tests.relay.world import Arrived, World, make_world

pytestmark = pytest.mark.programs

OPERATIONS = frozenset({"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir"})
SAMPLE = 14


def killed_at(number: int, work: Callable[[], object]) -> bool:
    """Run in a child that gets SIGKILL before its n-th file operation; True if it came to that."""
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            flags = arguments[2] if event == "open" and len(arguments) > 2 else 0
            writes = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
            if event in OPERATIONS or (event == "open" and writes):
                seen += 1
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            work()
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


class Site:
    """A site with a stick to and from central; central answers what it reads."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.world: World = make_world(root, "[carry]\nreport_after_s = 0\n[pilots]\ncount = 0\n")
        self.to_site, self.to_central = root / "to-site", root / "to-central"
        self.to_site.mkdir()
        self.ran: Counter[tuple[PilotRun, int]] = Counter()
        self.read: dict[str, Arrived] = {}

    def send_work(self) -> None:
        leases = [self.world.lease(0, [0, 1]), self.world.lease(1, [2]), self.world.lease(2, [3])]
        path = self.world.pack(*leases, data=[b"an input"])
        path.rename(self.to_site / path.name)

    def relay(self) -> None:
        """All that a relay does."""
        home = open_home(self.world.home.folder)
        import_from(home, self.to_site)
        tick(home)
        self.to_central.mkdir(exist_ok=True)
        export_to(home, self.to_central)

    def pilots(self) -> None:
        """One pilot seals its shard, one is gone in the middle of one."""
        sound, lost = self.world.pilot(), self.world.pilot(host=os.uname().nodename)
        header = sound.take()
        if header is not None:
            attempts = sound.journal(header, sound.jobs(header))[1]
            sound.seal(header, attempts)
            self.ran.update((sound.run, a.job) for a in attempts)
        header = lost.take()
        if header is not None:
            attempts = lost.journal(header, lost.jobs(header)[:1])[1]
            self.ran.update((lost.run, a.job) for a in attempts)

    def central(self) -> None:
        """Read everything that came, answer with receipts for all of it."""
        for path in sorted(self.to_central.glob("*.pulk")):
            arrived = self.world.read(path)
            self.read[arrived.id] = arrived
        path = self.world.pack(receipts=self.world.receipts(*self.read.values()))
        path.rename(self.to_site / path.name)

    def finish(self) -> None:
        """Go on without kills until nothing is left."""
        for _ in range(8):
            self.relay()
            self.world.pilot().work_through()
            for run in self.world.out("claimed"):
                if not list(run.glob("*.shard")):
                    (run / "claim").unlink(missing_ok=True)
                    run.rmdir()
            self.central()
            held = custody.every_held(self.world.spool)
            if not works.ids(self.world.spool) and not [h for h in held if h.kind is Kind.RESULT]:
                return
        raise AssertionError("it did not come to an end")

    def check(self) -> None:
        """Every attempt arrived in exactly one segment; every number names one bundle."""
        segments = {
            entry.digest: segment
            for one in self.read.values()
            for entry, segment in zip(one.manifest.segments, one.segments, strict=True)
        }
        arrived = Counter(
            (segment.header.pilot_run, attempt.job)
            for segment in segments.values()
            for attempt in segment.attempts
        )
        assert not self.ran - arrived, "lost"
        assert max(arrived.values()) == 1, "double"
        assert {job for _, job in arrived} == {0, 1, 2, 3}
        places = Counter((o.manifest.stream, o.manifest.sequence) for o in self.read.values())
        assert max(places.values()) == 1, "one number, two bundles"
        assert not [h for h in custody.every_held(self.world.spool) if h.kind is Kind.RESULT]


def rounds(site: Site, kill_at: int, *, kill_first: bool) -> bool:
    """One life of a work bundle with one kill; False where the kill came too late to happen."""
    site.send_work()
    if kill_first:
        killed = killed_at(kill_at, site.relay)
        site.relay()
        site.pilots()
    else:
        site.relay()
        site.pilots()
        killed = killed_at(kill_at, site.relay)
    site.finish()
    site.check()
    return killed


@pytest.mark.parametrize("kill_first", [True, False], ids=["accepting", "collecting"])
def test_a_kill_at_sampled_file_operations_loses_and_doubles_nothing(
    tmp_path: Path, kill_first: bool
) -> None:
    seed = random.Random().randrange(1000)
    for step in range(SAMPLE):
        at = 1 + seed % 9 + step * 9
        site = Site(tmp_path / f"{at}")
        if not rounds(site, at, kill_first=kill_first):
            return
    assert at > 100, f"seed {seed}"


@pytest.mark.campaign
@pytest.mark.parametrize("kill_first", [True, False], ids=["accepting", "collecting"])
def test_a_kill_at_every_file_operation_loses_and_doubles_nothing(
    tmp_path: Path, kill_first: bool
) -> None:
    at = 1
    while rounds(Site(tmp_path / f"{at}"), at, kill_first=kill_first):
        at += 1
    assert at > 50


def test_two_ticks_at_once_give_different_numbers_to_different_bundles(world: World) -> None:
    world.deliver(world.pack(*(world.lease(n, [n]) for n in range(4))))
    tick(world.home)
    world.pilot().work_through()
    start = threading.Barrier(4)
    made: list[stream.Record | None] = []
    trouble: list[BaseException] = []

    def publish() -> None:
        from relay import report

        try:
            start.wait()
            for _ in range(5):
                said = report._report(world.home, [], {}, (), random.randrange(10**6))
                made.append(stream.publish_next(world.spool, report._draft(world.home, said)))
        except BaseException as error:
            trouble.append(error)

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not trouble
    records = [one for one in made if one is not None]
    assert len({one.sequence for one in records}) == len({one.id for one in records}) == 20
    bundles = [world.read(path) for path in world.out("out")]
    by_number = sorted((one.manifest.sequence, one) for one in bundles)
    assert [number for number, _ in by_number] == list(range(len(bundles)))
    ids = [one.id for _, one in by_number]
    assert [one.manifest.previous.hex() for _, one in by_number] == ["", *ids[:-1]]


def test_two_whole_ticks_without_the_lock_count_each_segment_once(world: World) -> None:
    world.deliver(world.pack(*(world.lease(n, [n]) for n in range(4))))
    tick(world.home)
    world.pilot().work_through()
    assert _ticks_at_once(world) == [0, 0, 0]
    results = world.results(world.out("out", "sent"))
    digests = {entry.digest for one in results for entry in one.manifest.segments}
    assert len(digests) == 4
    numbers = [one.manifest.sequence for one in map(world.read, world.out("out", "sent"))]
    assert len(set(numbers)) == len(numbers)
    assert not world.out("sealed")


def test_whole_ticks_at_once_without_the_lock_salvage_each_dead_pilot_once(world: World) -> None:
    world.deliver(world.pack(*(world.lease(n, [n]) for n in range(8))))
    tick(world.home)
    for number in range(8):
        pilot = world.pilot(host=os.uname().nodename, boot_id="an earlier boot")
        header = pilot.take()
        assert header is not None
        pilot.journal(header, pilot.jobs(header) if number % 2 else [])
    assert _ticks_at_once(world) == [0, 0, 0]
    tick(world.home)
    results = world.results(world.out("out", "sent"))
    assert len({entry.digest for one in results for entry in one.manifest.segments}) == 4
    assert [path.stem[-4:] for path in world.out("claimable")] == ["0002"] * 8


def _ticks_at_once(world: World) -> list[int]:
    """Tick in three processes at once, all breaking the lock; return their exit codes."""
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                _tick_without_lock(world)
                os._exit(0)
            except BaseException as error:
                sys.stderr.write(f"{error!r}\n")
                os._exit(1)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in children]


def _tick_without_lock(world: World) -> None:
    """Tick with a lock that this process breaks whenever it stands in the way."""
    from relay.errors import OtherTick

    while True:
        try:
            tick(open_home(world.home.folder))
            return
        except OtherTick:
            (world.spool.root / LOCK).unlink(missing_ok=True)


def test_a_dead_ticks_lock_is_cleared_and_a_living_ones_is_not(world: World) -> None:
    make_spool(world.spool)
    lock = world.spool.root / LOCK

    def hold() -> None:
        from relay import lock as locks

        with locks.held(world.home):
            os.kill(os.getpid(), signal.SIGKILL)

    assert killed_at(10**9, hold)
    assert lock.exists()
    tick(world.home)
    assert not lock.exists()

    from relay import lock as locks
    from relay.errors import OtherTick

    with locks.held(world.home), pytest.raises(OtherTick):
        tick(world.home)
    lock.write_text("nonsense")
    tick(world.home)


def test_a_lock_that_could_not_be_removed_does_not_block_its_own_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_spool(world.spool)
    lock = world.spool.root / LOCK
    unlink = Path.unlink

    def failing(path: Path, missing_ok: bool = False) -> None:
        if path == lock:
            raise OSError("the disk hesitates")
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", failing)
        tick(world.home)
    assert lock.exists()
    tick(world.home)
    assert not lock.exists()
