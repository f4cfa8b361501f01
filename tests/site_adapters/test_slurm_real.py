"""The Slurm adapter on a real Slurm: four nodes, accounting on."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bundle.dataset.spec import Command, Dataset, Output, Step
from bundle.fates import Fate
from bundle.wire.manifest import Kind
from relay.tick import tick
from site_adapters.contract import Ending, PilotRequest, PilotState
from site_adapters.slurm import remembered
from site_adapters.slurm.adapter import SlurmAdapter
from site_adapters.slurm.script import Batch
from tests.relay.world import make_world
from tests.site_adapters.conformance import (
    SLEEPER,
    Conformance,
    Make,
    Submitting,
    until,
    wait_for,
)
from tests.testbed import slurm as slurms

pytestmark = pytest.mark.programs

ONE = Batch(exclusive=False, cpus=1, memory_mib=100)
STAYER = (
    "import os, pathlib, time\n"
    "pathlib.Path('part').write_text(str(os.getpid())); os.rename('part', 'pid')\n"
    "time.sleep(300)"
)
HEARER = (
    "import pathlib, signal, sys, time\n"
    "def end(*_): pathlib.Path(sys.argv[1]).write_text('heard')\n"
    "signal.signal(signal.SIGTERM, end); open(sys.argv[1] + '.ready', 'w').close()\n"
    "while True: time.sleep(1)\n"
)


@pytest.fixture(autouse=True)
def reached(slurm: slurms.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in slurm.environment.items():
        if name != "HOME":
            monkeypatch.setenv(name, value)


class Site(Submitting[Batch]):
    """See the base."""

    def adapter(self, batch: Batch | None = None) -> SlurmAdapter:
        return SlurmAdapter(self.folder / "pilots", batch or ONE, poll_s=0, limit_s=20)

    def array(self) -> str:
        (one,) = remembered.every(self.folder / "pilots")
        return str(one.array)


@pytest.fixture
def site(tmp_path: Path, slurm: slurms.Cluster) -> Iterator[Site]:
    yield Site(tmp_path)
    for one in remembered.every(tmp_path / "pilots"):
        slurm.said("scancel", "--signal=KILL", "--full", str(one.array))
        slurm.said("scancel", str(one.array))


@dataclass(frozen=True, slots=True)
class Early:
    """Submitted before the first test, for Slurm takes its time with them.

    `overlong` hears of its walltime's end and stays (the shortest is a minute), `failing` ends at
    once and leaves the queue, the node of `lost` fails.
    """

    overlong: tuple[Site, str]
    failing: tuple[Site, str]
    lost: tuple[Site, str]


@pytest.fixture(scope="module", autouse=True)
def early(slurm: slurms.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Early]:
    sites = [Site(tmp_path_factory.mktemp(name)) for name in ("overlong", "failing", "lost")]
    hearer = replace(ONE, walltime_s=60, signal_s=15, options=("--nodelist=n1",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
        (overlong,) = sites[0].submit(HEARER, str(sites[0].folder / "said"), batch=hearer)
        (failing,) = sites[1].submit("import sys; sys.exit(3)")
        (lost,) = sites[2].submit(STAYER, batch=replace(ONE, options=("--nodelist=n4",)))
        pid = sites[2].folder / "pid"
        until(pid.exists)
    slurm.kill_node("n4")
    yield Early((sites[0], overlong), (sites[1], failing), (sites[2], lost))
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(pid.read_text()), signal.SIGKILL)
    slurm.start_node("n4")
    slurm.said("scancel", *(site.array() for site in sites))


class TestSlurm(Conformance):
    """All sentences of the contract."""

    @pytest.fixture
    def make(self, site: Site) -> Make:
        return site.adapter


def test_each_node_of_each_batch_job_has_a_pilot(site: Site) -> None:
    code = (
        "import os, pathlib, sys, time\n"
        "pathlib.Path(sys.argv[1].replace(':', '-')).write_text(os.environ['SLURMD_NODENAME'])\n"
        "time.sleep(1)"
    )
    batch = replace(ONE, nodes=2)
    ids = site.submit(code, batch=batch, jobs=2)
    assert len(ids) == 4
    for batch_id in ids:
        wait_for(site.adapter(batch), batch_id, PilotState.ABSENT)
    nodes = [(site.folder / one.replace(":", "-")).read_text() for one in ids]
    assert nodes[0] != nodes[1]
    assert nodes[2] != nodes[3]


def test_one_pilot_that_fails_does_not_end_its_neighbour(site: Site) -> None:
    code = (
        "import pathlib, sys, time\n"
        "if sys.argv[1].split(':')[3] == '0': sys.exit(7)\n"
        "time.sleep(2); pathlib.Path('neighbour').touch()"
    )
    batch = replace(ONE, nodes=2)
    ids = site.submit(code, batch=batch)
    for batch_id in ids:
        wait_for(site.adapter(batch), batch_id, PilotState.ABSENT)
    assert (site.folder / "neighbour").exists()


def test_a_pilot_cancelled_from_outside_is_absent_and_says_so(
    site: Site, slurm: slurms.Cluster
) -> None:
    first, second = site.submit(SLEEPER, jobs=2)
    wait_for(site.adapter(), first, PilotState.RUNNING)
    slurm.run("scancel", f"{site.array()}_0")
    assert wait_for(site.adapter(), first, PilotState.ABSENT).ending is Ending.CANCELLED
    assert wait_for(site.adapter(), second, PilotState.RUNNING).job == f"{site.array()}_1"
    assert site.adapter().clear(first, "")


def test_a_held_pilot_names_the_reason_and_runs_when_released(
    site: Site, slurm: slurms.Cluster
) -> None:
    batch = replace(ONE, options=("--hold",))
    (batch_id,) = site.submit("pass", batch=batch)
    assert "JobHeld" in wait_for(site.adapter(), batch_id, PilotState.HELD).reason
    slurm.run("scontrol", "release", site.array())
    assert wait_for(site.adapter(), batch_id, PilotState.ABSENT).ending is Ending.COMPLETED


def test_what_slurm_starts_again_is_another_pilot(site: Site, slurm: slurms.Cluster) -> None:
    (first,) = site.submit(SLEEPER, batch=replace(ONE, requeue=True))
    wait_for(site.adapter(), first, PilotState.RUNNING)
    slurm.run("scontrol", "requeue", f"{site.array()}_0")
    assert wait_for(site.adapter(), first, PilotState.ABSENT).ending is Ending.REQUEUED
    assert site.adapter().clear(first, "")
    again = first[:-1] + "1"
    assert site.adapter().survey()[again].state in (PilotState.WAITING, PilotState.RUNNING)


def test_a_submission_whose_answer_was_never_written_down_is_found_by_its_name(
    site: Site,
) -> None:
    (batch_id,) = site.submit(SLEEPER)
    folder = site.folder / "pilots"
    (one,) = remembered.every(folder)
    remembered.save(folder, replace(one, array=0, submitter=(0, 0)))
    assert wait_for(site.adapter(), batch_id, PilotState.RUNNING).job == f"{one.array}_0"
    assert site.array() == str(one.array)
    assert site.adapter().submit(PilotRequest(site.name, ("x",), site.folder)) == (batch_id,)


def test_pilots_are_found_again_where_all_files_are_lost(site: Site) -> None:
    ids = site.submit(SLEEPER, jobs=2)
    wait_for(site.adapter(), ids[0], PilotState.RUNNING)
    array = site.array()
    for path in (site.folder / "pilots").iterdir():
        path.unlink()
    assert set(site.adapter().survey()) == set(ids)
    assert site.array() == array


def test_while_the_controller_is_down_pilots_are_unknown_not_gone(
    site: Site, slurm: slurms.Cluster
) -> None:
    (batch_id,) = site.submit(SLEEPER)
    wait_for(site.adapter(), batch_id, PilotState.RUNNING)
    slurm.stop_controller()
    try:
        impatient = SlurmAdapter(site.folder / "pilots", ONE, poll_s=0, limit_s=1)
        view = impatient.survey()[batch_id]
        assert view.state is PilotState.UNKNOWN
        assert view.reason.startswith("scheduler-failed")
        assert not impatient.clear(batch_id, "")
    finally:
        slurm.start_controller()
    wait_for(site.adapter(), batch_id, PilotState.RUNNING)


def test_limits_and_findings_are_the_clusters(site: Site) -> None:
    limits = site.adapter().limits()
    assert limits is not None
    assert (limits.cpus, limits.memory_mib, limits.walltime_s) == (4, 4000, 3600)
    assert limits.nodes >= 1
    assert not [one for one in site.adapter().examine() if one.remedy]
    wrong = site.adapter(replace(ONE, partition="nowhere")).examine()
    assert [one.name for one in wrong if one.remedy] == ["slurm"]


CONFIG = """
[pilots]
count = 4
slots = 1
idle_s = 3
[batch]
adapter = "slurm"
nodes = 2
exclusive = false
cpus = 1
memory_mib = 500
poll_s = 0
[tasks]
path = "/usr/bin:/bin"
"""


def test_a_dataset_runs_to_its_end_by_ticks_alone(tmp_path: Path, slurm: slurms.Cluster) -> None:
    world = make_world(tmp_path, CONFIG)
    argv = ("/bin/sh", "-c", 'echo "$PULK_JOB" > out')
    world.dataset = Dataset(
        "through-slurm", 40, 1, (Step("say", Command(argv), outputs=(Output("out"),)),)
    )
    first = [world.lease(at, range(10 * at, 10 * at + 10)) for at in range(4)]
    world.deliver(world.pack(*first))
    deadline = time.monotonic() + 60
    found: dict[int, Fate] = {}
    while len(found) < 40:
        assert time.monotonic() < deadline, list(world.home.folder.glob("pilots/*"))
        tick(world.home)
        arrived = [world.read(path) for path in world.out("out", "sent")]
        results = [one for one in arrived if one.manifest.kind is Kind.RESULT]
        attempts = [a for one in results for s in one.segments for a in s.attempts]
        assert len({a.job for a in attempts}) == len(attempts)
        found = {a.job: a.fate for a in attempts}
        time.sleep(0.5)
    assert set(found.values()) == {Fate.SUCCESS}
    batches = {entry.batch_id for one in results for entry in one.manifest.segments}
    assert all(one.startswith("slurm:") for one in batches)
    world.home.adapter.cancel(world.home.adapter.survey())


def test_a_pilot_that_left_the_queue_is_confirmed_by_accounting(
    early: Early, slurm: slurms.Cluster
) -> None:
    site, batch_id = early.failing
    until(lambda: not slurm.said("squeue", "-h", "-t", "all", "-j", site.array()))
    assert wait_for(site.adapter(), batch_id, PilotState.ABSENT).ending is Ending.FAILED


def test_a_pilot_whose_node_failed_is_absent_but_not_cleared_while_it_may_still_run(
    early: Early,
) -> None:
    site, batch_id = early.lost
    assert wait_for(site.adapter(), batch_id, PilotState.ABSENT).ending is Ending.NODE_FAILURE
    assert not site.adapter().clear(batch_id, "")
    os.kill(int((site.folder / "pid").read_text()), 0)  # it does still run


def test_a_pilot_hears_before_its_walltime_is_over_and_is_told_to_have_been_cut_off(
    early: Early,
) -> None:
    site, batch_id = early.overlong
    deadline = time.monotonic() + 100
    while (view := site.adapter().survey()[batch_id]).state is not PilotState.ABSENT:
        assert time.monotonic() < deadline
        time.sleep(1)
    assert view.ending is Ending.TIME_LIMIT
    assert (site.folder / "said").read_text() == "heard"
