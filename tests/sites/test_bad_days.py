"""What people, machines and schedulers do to batch jobs: nothing is lost, nothing counts twice.

One central, a real Slurm, and a site for each kind of bad day, all at the same time, for a minute
is Slurm's shortest walltime. Each day is a plan: what is waited for, then what is done.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from bundle.dataset import spec
from bundle.errors import PulkError
from central.document import parse
from relay import lock
from relay.home import open_home
from relay.rebuild import rebuild
from relay.status import status
from relay.tick import tick
from site_adapters.slurm import adapter, remembered
from tests.sites.field import Center, Outpost, Program, chain
from tests.testbed import slurm as slurms

pytestmark = [pytest.mark.programs, pytest.mark.campaign, pytest.mark.timeout(900)]

JOBS = 6
ROUND_S = 0.4
ALL_S = 480.0  # on a machine that does much else
GRACE_S = 3.0  # after a node's failure, in place of the two minutes
SPOOL_BYTES = 24 << 20
Plan = Iterator[Callable[[], object]]
CONFIG = """
{site}
[central]
url = "{url}"
timeout_s = 10
[pilots]
count = 1
slots = 2
idle_s = 5
emergency = "{emergency}"
{pilots}
[batch]
adapter = "slurm"
exclusive = false
cpus = 1
memory_mib = 300
poll_s = 1
canary = false
{batch}
[spool]
free_bytes_min = {free}
free_inodes_min = 0
[carry]
resend_after_s = 5
resend_unanswered_after_s = 1
report_after_s = 1
[status]
every_s = 0
[tasks]
path = "/usr/bin:/bin"
"""
# A task waits until what is to befall its pilot has come.
WAITS = "touch $$LEDGER.began; until test -e $$LEDGER.go; do sleep 0.2; done"


@dataclass(slots=True)
class Day:
    """One site, its dataset, and what is going to happen there."""

    name: str
    site: Outpost
    slurm: slurms.Cluster
    dataset: str
    jobs: int
    plan: Plan = field(default_factory=lambda: iter(()))
    waits: Callable[[], object] | None = None
    seen: list[dict[str, Any]] = field(default_factory=list)  # what `relay status` said
    troubles: list[str] = field(default_factory=list)
    threads: int = 1

    def began(self) -> bool:
        return Path(f"{self.site.ledger}.began").exists()

    def array(self) -> str:
        """The id that Slurm gave to the first submission."""
        found = sorted(remembered.every(self.site.folder / "pilots"), key=lambda one: one.array)
        return str(found[0].array) if found else ""

    def state(self) -> str:
        """What accounting says of that submission."""
        return self.slurm.said("sacct", "-n", "-X", "-o", "State", "-j", self.array() or "0")

    def look(self) -> bool:
        """Note what `relay status` says; return whether it shows batch jobs."""
        self.seen.append(status(open_home(self.site.folder)))
        return bool(self.seen[-1]["pilots"])

    def go(self) -> None:
        """Let tasks end."""
        Path(f"{self.site.ledger}.go").touch()

    def tick(self) -> None:
        """One tick, or several at once that no lock keeps apart."""
        others = [threading.Thread(target=self._tick) for _ in range(self.threads - 1)]
        for one in others:
            one.start()
        self._tick()
        for one in others:
            one.join()

    def _tick(self) -> None:
        if self.threads > 1:
            (self.site.folder / lock.NAME).unlink(missing_ok=True)
        try:
            tick(open_home(self.site.folder))
        except (PulkError, OSError) as error:  # as `pulk relay run` does: the next one goes on
            assert not isinstance(error, PulkError) or error.transient, error
            self.troubles.append(str(error))

    def follow(self) -> None:
        """Do what is due of the plan."""
        while self.waits is None or self.waits():
            self.waits = next(self.plan, _never)
            if self.waits is _never:
                self.go()
                return


def _never() -> bool:
    return False


def cancelled(day: Day) -> Plan:
    """The pilot hangs, as in a filesystem that does not answer, and hears nothing any more."""
    yield day.began
    pilots = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if _is_of(one, "none", str(day.site.folder)):
                pilots.append(one)
                one.suspend()
    day.slurm.run("scancel", day.array())
    for one in pilots:
        with contextlib.suppress(psutil.Error):
            one.kill()


def told_to_go(day: Day) -> Plan:
    yield day.began
    day.slurm.run("scancel", day.array())


def held(day: Day) -> Plan:
    yield lambda: day.look() and day.seen[-1]["pilots"][0]["state"] == "held"
    config = day.site.folder / "relay.toml"
    config.write_text(config.read_text().replace('"--hold", ', ""))
    day.slurm.run("scontrol", "release", day.array())


def requeued(day: Day) -> Plan:
    yield day.began
    day.slurm.run("scontrol", "requeue", f"{day.array()}_0")


def node_failed(day: Day) -> Plan:
    yield day.began
    day.slurm.kill_node("n4")
    for one in sorted(psutil.process_iter(), key=lambda one: one.pid):  # the power is cut
        with contextlib.suppress(psutil.Error):
            if _is_of(one, day.array(), str(day.site.folder)):
                one.kill()
    yield lambda: "NODE_FAIL" in day.state()
    day.slurm.start_node("n4")


def _is_of(one: psutil.Process, job: str, folder: str) -> bool:
    """Return whether a process is Slurm's step of a batch job, or a pilot of a site."""
    words = " ".join(one.cmdline())
    return words.startswith(f"slurmstepd: [{job}.") or (folder in words and "pilot" in words)


def controller_down(day: Day) -> Plan:
    yield day.began
    day.slurm.stop_controller()
    since = time.monotonic()
    day.go()
    yield lambda: day.look() and time.monotonic() - since > 3
    day.slurm.start_controller()


def overlong(day: Day) -> Plan:
    """The operator gave a time that the pilot does not know of (Slurm tells it from 23.02 on)."""
    yield lambda: "TIMEOUT" in day.state()


def preempted(day: Day) -> Plan:
    yield day.began
    argv = ("--parsable", "--nodelist=n3", "--cpus-per-task=4", "--mem=300", "--output=/dev/null")
    day.slurm.run("sbatch", *argv, "--partition=debug", "--wrap=sleep 3")
    yield lambda: "PREEMPTED" in day.state()


def disk_full(day: Day) -> Plan:
    yield day.began
    filler = day.site.folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    since = time.monotonic()
    day.go()
    yield lambda: time.monotonic() - since > 4
    filler.unlink()


def moved(day: Day) -> Plan:
    """The login node is another one now: nothing is left but the spool."""
    yield day.began
    for name in ("state", "streams", "pilots"):
        shutil.rmtree(day.site.folder / name)
    day.look()
    home = open_home(day.site.folder)
    with lock.held(home):
        rebuild(home)
    day.tick()
    day.look()


def two_relays(day: Day) -> Plan:
    day.threads = 3
    yield day.began


PLANS: dict[str, tuple[Callable[[Day], Plan], dict[str, str]]] = {
    "cancelled": (cancelled, {"batch": 'options = ["--nodelist=n1"]'}),
    "told-to-go": (told_to_go, {"batch": 'options = ["--nodelist=n1"]'}),
    "held": (held, {"batch": 'options = ["--hold", "--nodelist=n1"]'}),
    "requeued": (requeued, {"batch": 'requeue = true\noptions = ["--nodelist=n2"]'}),
    "node-failed": (node_failed, {"batch": 'options = ["--nodelist=n4"]'}),
    "controller-down": (controller_down, {"batch": 'options = ["--nodelist=n2"]'}),
    "overlong": (
        overlong,
        {
            "batch": 'signal_s = 0\noptions = ["--time=1", "--nodelist=n1"]',
            "pilots": "last_starts_s = 1\ncheckpoint_s = 0\nstop_s = 0",
        },
    ),
    "preempted": (preempted, {"batch": 'partition = "low"\noptions = ["--nodelist=n3"]'}),
    "disk-full": (disk_full, {"batch": 'options = ["--nodelist=n2"]', "free": "0"}),
    "moved": (moved, {"batch": 'options = ["--nodelist=n1"]'}),
    "two-relays": (two_relays, {"batch": 'options = ["--nodelist=n2"]'}),
}


@dataclass(slots=True)
class Days:
    """All of them, at their end."""

    center: Center
    by_name: dict[str, Day]

    def attempts(self, name: str) -> list[dict[str, Any]]:
        path = f"/datasets/{self.by_name[name].dataset}/attempts?limit=1000"
        return list(self.center.client.get(path)["attempts"])

    def told(self, name: str, fate: str) -> str:
        """What `pulk tell` says of the first attempt that ended so."""
        every = self.attempts(name)
        row = next((one for one in every if one["fate"] == fate), None)
        assert row is not None, {one["fate"] for one in every}
        story = self.center.tell(self.by_name[name].dataset, row["job"], row["step"])["story"]
        assert story[-1]["verdict"] == "done"
        return next(one["text"] for one in story if one.get("attempt") == row["attempt"])


@pytest.fixture(scope="module")
def days(slurm: slurms.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Days]:
    """Play all days to their end."""
    root = tmp_path_factory.mktemp("days")
    center = Center.made(root / "central", Program(), "[planner]\nshard_tasks_max = 6\n")
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in slurm.environment.items():
            if name != "HOME":
                patch.setenv(name, value)
        patch.setattr(adapter, "NODE_GRACE_S", GRACE_S)
        stack.enter_context(center.serving())
        every = [begun(stack, root, center, slurm, name) for name in PLANS]
        play(center, every)
        yield Days(center, {one.name: one for one in every})
        for one in every:
            for submission in remembered.every(one.site.folder / "pilots"):
                slurm.said("scancel", "--signal=KILL", "--full", str(submission.array))


def begun(
    stack: contextlib.ExitStack, root: Path, center: Center, slurm: slurms.Cluster, name: str
) -> Day:
    plan, said = PLANS[name]
    folder = root / name
    if name == "disk-full":
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SPOOL_BYTES}", "tmpfs", str(folder)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("a small filesystem can't be mounted here")
        stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=False)
    words = {"site": "", "batch": "", "pilots": "", "free": "0"} | said
    config = CONFIG.format(url=center.url, emergency=root / f"{name}-emergency", **words)
    site = Outpost.near(folder, Program(environment=slurm.environment), name, center, config)
    jobs = 1 if name == "overlong" else JOBS
    document = chain(name, jobs, before=WAITS, sites={"allow": [name]})
    raw = spec.encode(parse(document, None, name))
    day = Day(name, site, slurm, str(center.client.submit(raw, name)["id"]), jobs)
    day.plan = plan(day)
    return day


def play(center: Center, every: list[Day]) -> None:
    deadline = time.monotonic() + ALL_S
    left = list(every)
    while left:
        for day in left:
            day.tick()
            day.follow()
        left = [one for one in left if not is_over(center, one)]
        told = [(one.name, one.state(), one.troubles[-2:]) for one in left]
        assert time.monotonic() < deadline, told
        time.sleep(ROUND_S)


def is_over(center: Center, day: Day) -> bool:
    """Return whether all is done, known to be safe, and the plan is at its end."""
    if day.waits is not _never:
        return False
    held_here = status(open_home(day.site.folder))
    if held_here["work"] or held_here["incoming"]:
        return False
    words: Counter[str] = Counter()
    for step in center.client.counts(day.dataset):
        words.update(step["counts"])
    return words == {"done": 2 * day.jobs + 1}


@pytest.mark.parametrize("name", PLANS)
def test_nothing_is_lost_and_nothing_counts_twice(days: Days, name: str) -> None:
    succeeded = [one for one in days.attempts(name) if one["fate"] == "success"]
    day = days.by_name[name]
    tasks = Counter((one["step"], one["job"]) for one in succeeded)
    assert len(tasks) == 2 * day.jobs + 1
    assert max(tasks.values()) == 1, "what had finished ran again"
    assert {one["attempt"] for one in succeeded} <= set(day.site.ends()), "nobody ran it"


def test_a_pilot_cancelled_and_killed_is_told_of(days: Days) -> None:
    assert "ended: cancelled (CANCELLED" in days.told("cancelled", "cancelled")


def test_a_pilot_that_is_told_to_go_says_so_itself(days: Days) -> None:
    assert "the pilot was told to end" in days.told("told-to-go", "preempted")


def test_a_held_batch_job_is_shown_with_its_reason_and_an_alarm(days: Days) -> None:
    shown = [one for one in days.by_name["held"].seen if one["pilots"]]
    assert any("JobHeld" in (one["pilots"][0]["reason"] or "") for one in shown)
    assert any("is held" in alarm for one in shown for alarm in one["alarms"])


def test_what_slurm_started_again_is_told_of(days: Days) -> None:
    told = {one["fate"] for one in days.attempts("requeued")}
    assert told & {"preempted", "lost"}


def test_a_failed_node_is_told_of(days: Days) -> None:
    assert "ended: node-failure (NODE_FAIL" in days.told("node-failed", "node-failure")


def test_while_the_controller_was_away_pilots_were_unknown_and_worked_on(days: Days) -> None:
    states = {p["state"] for one in days.by_name["controller-down"].seen for p in one["pilots"]}
    assert "unknown" in states
    assert {one["fate"] for one in days.attempts("controller-down")} == {"success"}


def test_the_end_of_a_walltime_is_told_of(days: Days) -> None:
    ends = {one["fate"] for one in days.attempts("overlong")} - {"success"}
    assert ends <= {"preempted", "allocation-end"}, "it may not use up a try"
    assert "the pilot was told to end" in days.told("overlong", ends.pop())


def test_a_preempted_pilot_is_told_of(days: Days) -> None:
    assert "preempted" in days.told("preempted", "preempted")


def test_a_full_disk_costs_time_and_nothing_else(days: Days) -> None:
    fates = {one["fate"] for one in days.attempts("disk-full")}
    assert "success" in fates


def test_a_relay_that_lost_its_memory_goes_on_with_the_pilots_that_run(days: Days) -> None:
    assert {one["fate"] for one in days.attempts("moved")} == {"success"}
    before, after = days.by_name["moved"].seen
    assert not before["claims"] or before["claims"][0]["shards"]
    running = [one for one in after["pilots"] if one["state"] == "running"]
    assert len(running) == 1, "it was not found, or another was started beside it"


def test_relays_at_once_submit_no_pilot_twice(days: Days) -> None:
    assert {one["fate"] for one in days.attempts("two-relays")} == {"success"}


def test_the_pages_were_written_all_the_while(days: Days) -> None:
    for day in days.by_name.values():
        text = (day.site.folder / "status" / "index.html").read_text()
        assert f"<h1>Site {day.name}</h1>" in text


def test_central_is_sound_in_the_end(days: Days, tmp_path: Path) -> None:
    copy = tmp_path / "central"
    shutil.copytree(days.center.folder, copy, ignore=shutil.ignore_patterns("lock", "address"))
    done, attempts = Center(copy, Program()).sound()
    assert done == sum(2 * day.jobs + 1 for day in days.by_name.values())
    assert attempts == sum(len(days.attempts(name)) for name in PLANS)
