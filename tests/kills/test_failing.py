"""A database server that is struck, a disk that fails or is full: nothing told that is not kept."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from bundle.errors import PulkError
from bundle.intervals import IntervalSet
from central import config as configs
from central.archive import Archive
from central.authority import Authority
from central.errors import DatabaseTrouble
from tests.central.conftest import chain
from tests.central.scripted_site import ScriptedSite
from tests.kills.acts import ACTS, ask
from tests.kills.conftest import report
from tests.kills.plant import Place, Plant
from tests.kills.sweep import Point, Ran, Started, Strike, killed_at, named, run
from tests.testbed.postgresql import Server
from tests.testbed.tracer import Call

pytestmark = pytest.mark.programs

GROWS = frozenset(
    {"write", "pwrite64", "openat", "mkdir", "linkat", "rename", "sendfile"}
    | {"fsync", "fdatasync"}
)
BACKENDS = "SELECT pid, datname FROM pg_stat_activity WHERE datname IS NOT NULL"
RECOVERY_S_MAX = 30.0
TRIES = 100  # until a server that was struck is there again


def struck_once(wanted: Callable[[Call], bool], number: int, blow: Strike) -> Strike:
    """Strike at the n-th call of those that are wanted."""
    seen = 0

    def strike(call: Call) -> int:
        nonlocal seen
        seen += wanted(call)
        return blow(call) if wanted(call) and seen == number else 0

    return strike


def is_sync(call: Call) -> bool:
    """Whether a call makes something durable, and its failure is told.

    SQLite syncs the name of its journal too, in the database's folder, and ignores by design
    whether that works.
    """
    is_of_names = (Path(call.target) / "pulk.sqlite").exists()
    return call.name in ("fsync", "fdatasync") and not is_of_names


def needs_space(call: Call) -> bool:
    """Whether a call may find the disk full."""
    return call.name in GROWS and (not call.target or call.target.startswith("/"))


def losing(number: int) -> Strike:
    """Let the n-th sync fail, once, as a kernel does: what was to be written is gone."""

    def blow(call: Call) -> int:
        path = Path(call.target)
        if path.is_file() and "uploads" in path.parts:
            path.write_bytes(bytes(path.stat().st_size))
        return errno.EIO

    return struck_once(is_sync, number, blow)


def full(number: int) -> Strike:
    """Let the n-th call that needs space find none, once."""
    return struck_once(needs_space, number, lambda _: errno.ENOSPC)


def failing(started: Started, strike: Strike) -> Ran:
    """Run an act of which one call fails, in a process that tries again, and judge."""
    copy = started.place.copy(started.template)
    ran = run(copy, started.act, strike, tries=2)
    assert ran.status == 0, ran
    assert len(ran.answers) == 1
    started.judge(copy, ran)
    return ran


def calls_of(started: Started, wanted: Callable[[Call], bool]) -> list[Point]:
    """The points of an act at some of its calls."""
    copy, found = started.place.copy(started.template), []

    def see(call: Call) -> int:
        found.append(wanted(call))
        return 0

    calls = run(copy, started.act, see).calls
    started.place.drop(copy)
    points = named(started.name, calls)
    return [point for point, is_one in zip(points, found, strict=True) if is_one]


def sweep_syncs(place: Place, name: str) -> list[Point]:
    """Have each sync of an act fail; nobody is told before it was tried again.

    Only a checkpoint at the end, of what the write-ahead log keeps already, may fail in silence.
    """
    started, targets = Started.at(place, name), list[str]()

    def is_seen(call: Call) -> bool:
        if is_sync(call):
            targets.append(call.target)
        return is_sync(call)

    points = calls_of(started, is_seen)
    is_logged = any(target.endswith("-wal") for target in targets)
    checkpoint = len(targets) - 1 if is_logged and targets[-1].endswith(".sqlite") else 2**62
    for number, point in enumerate(points, start=1):
        assert failing(started, losing(number)).troubles or number >= checkpoint, point
    return points


def sweep_space(place: Place, name: str, pick: Callable[[list[int]], list[int]]) -> list[Point]:
    """Have calls of an act find no space."""
    started = Started.at(place, name)
    points = calls_of(started, needs_space)
    chosen = pick(list(range(1, len(points) + 1)))
    for number in chosen:
        failing(started, full(number))
    return [points[number - 1] for number in chosen]


@pytest.mark.sweeps
@pytest.mark.parametrize("name", ["result", "rivals", "refused"])
def test_a_sync_that_fails_once_is_never_told_as_kept(sqlite_place: Place, name: str) -> None:
    assert sweep_syncs(sqlite_place, name)


@pytest.mark.sweeps
def test_a_sample_of_calls_that_find_no_space_loses_and_doubles_nothing(
    place: Place, draw: random.Random
) -> None:
    for name in ("result", "packing"):
        assert sweep_space(place, name, lambda every: draw.sample(every, 5))


@pytest.mark.campaign
def test_every_sync_fails_once_and_every_call_finds_no_space(place: Place) -> None:
    engine = "sqlite" if place.server is None else "postgresql"
    synced = [point for name in ACTS for point in sweep_syncs(place, name)]
    report(f"syncs-{engine}", synced)
    spaced = [point for name in ACTS for point in sweep_space(place, name, lambda every: every)]
    report(f"space-{engine}", spaced)
    assert len(set(synced)) > 20
    assert len(set(spaced)) > 50


# --- PostgreSQL is struck while central works


def crashing(server: Server, plant: Plant) -> Callable[[Call], int]:
    """Kill central's backend: the server takes all others down with it, and recovers."""

    def blow(_: Call) -> int:
        found = [row.split("|") for row in server.psql(BACKENDS).splitlines()]
        pids = [int(pid) for pid, name in found if name == plant.name]
        assert pids  # two, where one is still about to end
        for pid in pids:
            with suppress(ProcessLookupError):
                server.kill(pid)
        return 0

    return blow


def restarting(server: Server, plant: Plant) -> Callable[[Call], int]:
    """Stop the server as a power cut would, and start it again."""
    del plant

    def blow(_: Call) -> int:
        server.stop("immediate")
        server.start()
        return 0

    return blow


BLOWS = {"backend": crashing, "server": restarting}


def strike_server(started: Started, server: Server, number: int, blow: str) -> Ran:
    """Strike the server at the n-th call of an act; central goes on, and is judged."""
    copy = started.place.copy(started.template)
    strike = struck_once(lambda _: True, number, BLOWS[blow](server, copy))
    ran = run(copy, started.act, strike, tries=TRIES)
    assert ran.status == 0, ran.troubles
    assert len(ran.answers) == 1
    _await_recovery(copy)
    started.judge(copy, ran)
    return ran


def _await_recovery(plant: Plant) -> None:
    """Wait until the server lets somebody in again: a blow at the very end is not noticed."""
    give_up_s = time.monotonic() + RECOVERY_S_MAX
    while True:
        try:
            plant.open()
        except DatabaseTrouble:
            if time.monotonic() > give_up_s:
                raise
            time.sleep(0.1)
        else:
            plant.close()
            return


def around_commits(started: Started) -> list[int]:
    """The numbers of the calls that send a COMMIT, and of those that wait for its answer."""
    copy = started.place.copy(started.template)
    calls = run(copy, started.act, lambda _: 0).calls
    started.place.drop(copy)
    found: list[int] = []
    for number, (call, after) in enumerate(pairwise(calls), start=1):
        if call.name == "sendto" and b"COMMIT" in call.data and after.name == "recvfrom":
            found += [number, number + 1]
    assert found
    return found


@pytest.mark.sweeps
@pytest.mark.parametrize("blow", BLOWS)
def test_postgresql_that_is_struck_in_a_commit_is_asked_again(
    postgresql_place: Place, postgresql: Server, blow: str
) -> None:
    started = Started.at(postgresql_place, "result")
    for number in around_commits(started)[-2:]:
        strike_server(started, postgresql, number, blow)


@pytest.mark.campaign
@pytest.mark.parametrize("blow", BLOWS)
def test_postgresql_is_struck_all_over(
    postgresql_place: Place, postgresql: Server, blow: str
) -> None:
    struck: list[Point] = []
    for name in ACTS:
        started = Started.at(postgresql_place, name)
        points = started.points()
        if started.act.opens:
            continue  # it has no backend yet at its first calls
        chosen = {*range(2, len(points) - 2, 9), *around_commits(started)}
        for number in sorted(chosen):
            strike_server(started, postgresql, number, blow)
            struck.append(points[number - 1])
    report(f"postgresql-{blow}", struck)
    assert len(set(struck)) > 100


# --- disks without space


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A filesystem of sixteen mebibytes, which a write-ahead log fits into."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.sweeps
@pytest.mark.parametrize("full", ["archive", "folder"])
def test_results_that_find_the_disk_full_are_merged_once_there_is_space(
    sqlite_place: Place, tmp_path: Path, full: str
) -> None:
    """`archive`: only that is full; `folder`: the database too."""
    jobs = 40
    plant = sqlite_place.plant()
    dataset = plant.submit(chain(jobs, fan_in=False))
    site = plant.site("north")
    held = ask(plant, site)
    bundles = bring_by_job(site, held, jobs)
    plant.close()
    with small_disk(tmp_path / "small") as disk:
        where = plant.home.archive if full == "archive" else plant.home.root
        shutil.move(where, disk / "moved")
        where.symlink_to(disk / "moved")
        fill(disk, leave=40_000)
        plant.open()
        told = [try_to(plant, one) for one in bundles]
        assert None in told
        plant.close()
        (disk / "ballast").unlink()
        assert counted(plant, len([one for one in told if one]))
        plant.open()
        assert {plant.bring(one) for one in bundles} == {"merged"}
        assert plant.counts() == [[{"done": jobs}] * 2]
        assert plant.authority.dataset(dataset)["jobs"] == jobs
        plant.close()
        assert plant.examine()["attempts"] == 2 * jobs


def bring_by_job(site: ScriptedSite, held: list[object], jobs: int) -> list[Path]:
    """A bundle for each job of what a site holds."""
    return [
        site.result([site.play(one, lease, jobs=IntervalSet.of([job]), complete=False)])  # type: ignore[arg-type]
        for job in range(jobs)
        for one in held
        for lease in one.leases  # type: ignore[attr-defined]
    ]


def fill(disk: Path, *, leave: int) -> None:
    """Fill a disk but for some bytes."""
    free = os.statvfs(disk)
    (disk / "ballast").write_bytes(b"b" * (free.f_bavail * free.f_frsize - leave))


def try_to(plant: Plant, bundle: Path) -> str | None:
    """Bring a bundle; None where central says, or can't even say, that it has trouble."""
    try:
        return plant.bring(bundle)
    except PulkError as error:
        assert error.transient, error.text()
    except OSError as error:
        assert error.errno == errno.ENOSPC
    return None


def counted(plant: Plant, told: int) -> bool:
    """Whether what was told is there; a commit whose answer failed may be there too."""
    found = int(plant.examine()["attempts"])
    return 2 * told <= found <= 2 * (told + 1)


def test_a_central_that_tells_before_it_archives_is_found(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep can fail: what is archived only when central ends is lost by a kill before that."""
    late: list[tuple[Archive, Path, object]] = []
    put, close = Archive.put, Authority.close

    def put_later(archive: Archive, source: Path, bundle: object) -> bool:
        kept = source.with_name(f"late-{source.name}")
        os.link(source, kept)
        late.append((archive, kept, bundle))
        return True

    def close_and_put(authority: Authority) -> None:
        for archive, kept, bundle in late:
            put(archive, kept, bundle)  # type: ignore[arg-type]
            kept.unlink()
        late.clear()
        close(authority)

    started = Started.at(sqlite_place, "result")
    monkeypatch.setattr(Archive, "put", put_later)
    monkeypatch.setattr(Authority, "close", close_and_put)
    points = started.points()
    told = points.index(("write", "result", 0)) + 1
    with pytest.raises(AssertionError):
        killed_at(started, told + 1)


def test_the_configuration_of_a_copy_names_its_own_database(postgresql_place: Place) -> None:
    plant = postgresql_place.plant()
    plant.close()
    copy = postgresql_place.copy(plant)
    urls = {configs.load(one.home.config).store.url for one in (plant, copy)}
    assert len(urls) == 2 and all(urls)
