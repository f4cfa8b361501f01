"""A real central's datasets through a real pool, with and without files that nodes share.

Truth comes from a ledger that the payloads append to and from central's own fsck.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bundle.dataset.spec import Command, Dataset, Input, Output, Request, Step
from bundle.fates import Fate
from bundle.ids import SiteName
from bundle.records import segment as segments
from bundle.records.attempt import Attempt
from bundle.trust import fingerprint
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from central.home import now_us
from relay import enrol, pilot_folder
from relay.home import Home, open_home
from relay.tick import tick
from site_adapters import process
from site_adapters.contract import PilotState, PilotView
from tests.kills.plant import Place, Plant
from tests.kills.production import Ledger
from tests.testbed import htcondor as htcondors

pytestmark = pytest.mark.programs

SITE = SiteName("north")
LIMIT_S = 200.0
CENTRAL = "[archive]\ncopies = 1\n[planner]\nshard_tasks_max = 10\n"
CONFIG = """
[site]
name = "north"
[spool]
free_bytes_min = 0
free_inodes_min = 0
[capacity]
tasks_wanted = 1000
[pilots]
count = 4
slots = 2
idle_s = 2
stop_s = 5
{pilots}
[batch]
adapter = "htcondor"
exclusive = false
cpus = 1
memory_mib = 500
poll_s = 0
signal_s = 20
canary = false
{batch}
[tasks]
path = "/usr/bin:/bin"
writable = ["{ledger}"]
[task_environment]
LEDGER = "{ledger}/ledger"
"""
PAYLOAD = """
echo "begin $$PULK_ATTEMPT $$PULK_STEP $$PULK_JOB" >> $$LEDGER
sleep 0.6; {body}
echo "end $$PULK_ATTEMPT $$PULK_STEP $$PULK_JOB" >> $$LEDGER
"""


@pytest.fixture(autouse=True)
def reached(htcondor: htcondors.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in htcondor.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def unseen() -> Iterator[Path]:
    """A folder that no node of the pool sees."""
    with htcondors.unseen() as folder:
        yield folder


def dataset(jobs: int) -> Dataset:
    """Two steps a job, the second reads what the first wrote."""
    request = Request(memory_mib=64, walltime_ms=60_000, disk_bytes=1 << 20)

    def ran(body: str) -> Command:
        return Command(("/bin/sh", "-ec", PAYLOAD.format(body=body)))

    first = Step("make", ran("echo $$PULK_JOB > g"), outputs=(Output("g"),), request=request)
    second = Step(
        "read",
        ran("cat g > w"),
        needs=(0,),
        inputs=(Input(0, 0, "g"),),
        outputs=(Output("w"),),
        request=request,
    )
    return Dataset("condor", jobs, 7, (first, second))


@dataclass
class Loop:
    """One central with one site whose pilots are jobs of a pool."""

    plant: Plant
    site: Path
    ledger: Path
    jobs: int
    brought: set[str] = field(default_factory=set)

    @classmethod
    def made(cls, folder: Path, ledger: Path, jobs: int, pilots: str, batch: str) -> Loop:
        plant = Place(folder, None).plant()
        plant.close()
        plant.home.config.write_text(CENTRAL)
        plant.open()
        plant.clock.now_us = now_us()
        site = folder / "site"
        made = enrol.init(site, SITE, "")
        answer = site / "answer"
        answer.write_bytes(plant.authority.enrol(made.request.read_bytes(), made.fingerprint))
        enrol.accept(site, answer, fingerprint.of_roots(plant.authority._w.trust.trust))
        facts = {"pilots": pilots, "batch": batch, "ledger": ledger}
        (site / "relay.toml").write_text(CONFIG.format(**facts))
        plant.submit(dataset(jobs))
        return cls(plant, site, ledger / "ledger", jobs)

    def relay(self) -> Home:
        return open_home(self.site)

    def lines(self, word: str) -> int:
        text = self.ledger.read_text() if self.ledger.exists() else ""
        return sum(line.startswith(word) for line in text.splitlines())

    def exchange(self, home: Home) -> None:
        """Bring what is ready to central, and what central has back."""
        self.plant.clock.now_us = now_us()
        for path in sorted(home.spool.folder("out").iterdir()):
            if path.name not in self.brought:
                self.brought.add(path.name)
                kept = shutil.copy(path, self.ledger.parent / path.name)
                assert self.plant.bring(kept) == "merged"
        known = home.spool.folder("in")
        for row in self.plant.authority.outbox(SITE):
            if row.id not in self.brought:
                self.brought.add(row.id)
                shutil.copy(self.plant.authority.outgoing(SITE, row.id), known / f"{row.id}.pulk")

    def run(self, meanwhile: Callable[[Home], object]) -> None:
        """Tick and exchange until central has everything."""
        done = [[{"done": self.jobs}, {"done": self.jobs}]]
        deadline = time.monotonic() + LIMIT_S
        while self.plant.counts() != done:
            home = self.relay()
            views = home.adapter.survey()
            assert time.monotonic() < deadline, (self.plant.counts(), dict(views))
            tick(home)
            self.exchange(home)
            meanwhile(home)
            time.sleep(0.3)

    def judge(self) -> list[tuple[str, Attempt]]:
        """Nothing is lost, nothing counts twice; return all attempts that came."""
        home = self.relay()
        tick(home)
        self.exchange(home)
        found = self.arrived(home)
        for path in self.ledger.parent.glob("*.pulk"):
            assert self.plant.bring(path) == "merged"  # again: nothing is counted twice
        assert self.plant.counts() == [[{"done": self.jobs}, {"done": self.jobs}]]
        self.plant.close()
        every = Counter((run, one.local) for run, one in found)
        assert max(every.values()) == 1, "one attempt came twice"
        examined = self.plant.examine()
        assert examined["attempts"] == len(found)
        assert examined["wall_ms"] == sum(one.usage.wall_ms for _, one in found)
        succeeded = {(r, a.local): (a.step, a.job) for r, a in found if a.fate is Fate.SUCCESS}
        times = Counter(succeeded.values())
        assert len(times) == 2 * self.jobs and max(times.values()) == 1, "a task succeeded twice"
        ended = Ledger.read(self.ledger).ended
        assert all(ended[one] == task for one, task in succeeded.items())
        assert not list(home.spool.folder("quarantine").iterdir())
        return found

    def arrived(self, home: Home) -> list[tuple[str, Attempt]]:
        found = []
        for path in self.ledger.parent.glob("*.pulk"):
            with open_bundle(path, home.trust(), audience="central", kinds=frozenset(Kind)) as one:
                for at in one.find("segment"):
                    segment = segments.decode(one.chunk(at))
                    assert segment.header.host.isolation == "isolated"
                    run = segment.header.pilot_run.hex()
                    found += [(run, attempt) for attempt in segment.attempts]
        return found


class Once:
    """Does something to pilots that run, to one after the other, in the middle."""

    def __init__(self, loop: Loop, *deeds: Callable[[PilotView], bool]) -> None:
        self.loop, self.left = loop, list(deeds)
        self.done: list[str] = []
        self._next = 2

    def __call__(self, home: Home) -> None:
        if not self.left or self.loop.lines("end") < self._next:
            return
        for view in home.adapter.survey().values():
            runs = view.state is PilotState.RUNNING and view.job not in self.done
            if runs and self.left[0](view):
                self.left.pop(0)
                self.done.append(view.job)
                self._next = self.loop.lines("end") + 2
                return


def by(pool: htcondors.Pool, *argv: str) -> Callable[[PilotView], bool]:
    """Return what one of HTCondor's programs does to a pilot's job, unless it has just ended."""

    def act(view: PilotView) -> bool:
        try:
            pool.run(*argv, view.job)
        except RuntimeError:
            return False
        return True

    return act


def kill(view: PilotView) -> bool:
    """Kill a pilot's process; False where it has none yet that writes a journal."""
    for one in process.every():
        words = process.arguments_of(one.pid).split(b"\0")
        if view.batch_id.encode() in words and b"--spool" in words and words[0][-2:] != b"sh":
            os.kill(one.pid, signal.SIGKILL)
            return True
    return False


def test_a_dataset_ends_whole_though_pilots_are_removed_evicted_and_killed(
    tmp_path: Path, htcondor: htcondors.Pool
) -> None:
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    loop = Loop.made(tmp_path, ledger, 52, "", "")
    rm, vacate = by(htcondor, "condor_rm"), by(htcondor, "condor_vacate_job", "-fast")
    deeds = Once(loop, rm, vacate, kill)
    loop.run(deeds)
    assert len(deeds.done) >= 2  # on a busy machine the last one may find no pilot that runs
    loop.judge()


def test_the_same_where_nodes_see_nothing_of_the_relay(
    tmp_path: Path, unseen: Path, htcondor: htcondors.Pool
) -> None:
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    python = Path(sys.base_prefix) / "bin" / "python3"
    batch = f'shared_filesystem = false\nshards = 2\npython = "{python}"'
    loop = Loop.made(unseen, ledger, 52, 'folder = "pilot"', batch)
    pilot_folder.make(loop.site / "pilot")
    rm, vacate = by(htcondor, "condor_rm"), by(htcondor, "condor_vacate_job")
    deeds = Once(loop, rm, kill, vacate)
    loop.run(deeds)
    assert len(deeds.done) >= 2  # on a busy machine the last one may find no pilot that runs
    found = loop.judge()
    begun = Ledger.read(loop.ledger).begun
    # What these three had in hand came back; a kill may leave a beginning that was not written yet.
    assert len(begun) <= len(found) + 2
