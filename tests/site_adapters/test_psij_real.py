"""PSI/J's executor for Slurm, on the real Slurm of the testbed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.dataset.spec import Command, Dataset, Output, Step
from bundle.fates import Fate
from bundle.wire.manifest import Kind
from relay.home import open_home
from relay.tick import tick
from site_adapters.contract import Ending, PilotState
from site_adapters.psij import remembered
from site_adapters.psij.adapter import PsijAdapter
from site_adapters.psij.script import Batch
from tests.relay.world import make_world
from tests.site_adapters.conformance import (
    SLEEPER,
    Conformance,
    Make,
    Submitting,
    wait_for,
)
from tests.testbed import slurm as slurms

pytestmark = pytest.mark.programs

ONE = Batch("slurm", walltime_s=600, cpus=1, memory_mib=100, exclusive=False)


@pytest.fixture(autouse=True)
def reached(slurm: slurms.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in slurm.environment.items():
        if name != "HOME":
            monkeypatch.setenv(name, value)


class Site(Submitting[Batch]):
    """See the base."""

    def adapter(self, batch: Batch | None = None) -> PsijAdapter:
        return PsijAdapter(self.folder / "pilots", batch or ONE, poll_s=0, limit_s=60)

    def native(self) -> list[str]:
        return [
            native
            for one in remembered.every(self.folder / "pilots")
            for native in one.native.values()
        ]


@pytest.fixture
def site(tmp_path: Path, slurm: slurms.Cluster) -> Iterator[Site]:
    yield (site := Site(tmp_path))
    for native in site.native():
        slurm.said("scancel", "--signal=KILL", "--full", native)
        slurm.said("scancel", native)


class TestPsij(Conformance):
    """All sentences of the contract."""

    @pytest.fixture
    def make(self, site: Site) -> Make:
        return site.adapter


def test_what_waits_is_cancelled_and_never_begins(site: Site, slurm: slurms.Cluster) -> None:
    held = replace(ONE, options=("slurm.begin=now+3600",))
    (batch_id,) = site.submit(SLEEPER, batch=held)
    assert wait_for(site.adapter(), batch_id, PilotState.WAITING).job in site.native()
    site.adapter().cancel([batch_id])
    assert wait_for(site.adapter(), batch_id, PilotState.ABSENT).ending is Ending.NEVER_BEGAN
    assert site.adapter().clear(batch_id, "")


def test_a_submission_whose_answer_was_lost_is_named_by_its_own_mark(site: Site) -> None:
    (batch_id,) = site.submit(SLEEPER)
    native = site.native()
    folder = site.folder / "pilots"
    (one,) = remembered.every(folder)
    remembered.save(folder, replace(one, native={}, submitter=(0, 0)))
    assert wait_for(site.adapter(), batch_id, PilotState.RUNNING).job == native[0]
    assert site.native() == native


CONFIG = """
[pilots]
count = 2
slots = 1
idle_s = 3
[batch]
adapter = "psij"
scheduler = "slurm"
partition = "standard"
exclusive = false
cpus = 1
memory_mib = 500
poll_s = 0
[tasks]
path = "/usr/bin:/bin"
"""


def test_a_dataset_runs_to_its_end_by_ticks_alone(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    file = world.home.folder / "relay.toml"
    text = file.read_text().replace("[spool]", "walltime_hours = 12\n[spool]")
    file.write_text(text.replace("[pilots]\ncount = 0\n", CONFIG))
    home = open_home(world.home.folder)
    argv = ("/bin/sh", "-c", 'echo "$PULK_JOB" > out')
    world.dataset = Dataset(
        "through-psij", 8, 1, (Step("say", Command(argv), outputs=(Output("out"),)),)
    )
    world.deliver(world.pack(*(world.lease(at, range(4 * at, 4 * at + 4)) for at in range(2))))
    found: dict[int, Fate] = {}
    deadline = time.monotonic() + 60
    while len(found) < 8:
        assert time.monotonic() < deadline, list(home.folder.glob("pilots/*"))
        tick(home)
        arrived = [world.read(path) for path in world.out("out", "sent")]
        results = [one for one in arrived if one.manifest.kind is Kind.RESULT]
        attempts = [a for one in results for s in one.segments for a in s.attempts]
        assert len({a.job for a in attempts}) == len(attempts)
        found = {a.job: a.fate for a in attempts}
        time.sleep(0.5)
    assert set(found.values()) == {Fate.SUCCESS}
    batches = {entry.batch_id for one in results for entry in one.manifest.segments}
    assert all(one.startswith("psij:") for one in batches)
    home.adapter.cancel(home.adapter.survey())
