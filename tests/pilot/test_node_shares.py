"""What a real task is told and bound to: its GPUs, its cores, its part of the node."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time

import pytest

from bundle.dataset.spec import Step
from bundle.fates import Fate
from tests.pilot.site_folder import ROOT, SiteFolder, dataset, fates, python, shell, small

_RUN = """
import dataclasses, os, sys
from pathlib import Path
from bundle.ids import PilotRun
from bundle.spool.layout import Spool
from pilot.core.ladder import Times
from pilot.core.node import Gpu
from pilot.core.request import Site
from pilot.discovery.look import look
from pilot.ending import Plan
from pilot.run import Pilot
from pilot.slots import Slots
from pilot.staging.child import Places
spool, run = Spool(Path(sys.argv[1])), PilotRun(os.urandom(8))
folder = spool.claimed(run) / "slots"
folder.mkdir(mode=0o700, parents=True)
between = spool.claimed(run) / "brought", spool.claimed(run) / "handed"
for path in between:
    path.mkdir()
slots = Slots(folder, spool.folder("data"), between, 2)
slots.hold(Site().holding)
gpus = tuple(Gpu(uuid, "made up") for uuid in sys.argv[2].split(",") if uuid)
found = dataclasses.replace(look(), gpus=gpus)
plan = Plan(int(sys.argv[3]), Times(0, 0, 0))
places = Places(*between, spool.folder("data"))
Pilot(spool, slots, run, "test-1", Site(), 0.0, found, plan, places).run()
"""
SEES = "echo $CUDA_VISIBLE_DEVICES/$ROCR_VISIBLE_DEVICES/$PULK_GPUS/$PULK_CPUS/$PULK_MEMORY_MIB"


def run(site: SiteFolder, gpus: str = "", end_us: int = 0) -> None:
    """Run a pilot with two slots on a node with these GPUs until this end."""
    arguments = [sys.executable, "-c", _RUN, str(site.spool.root), gpus, str(end_us)]
    subprocess.run(arguments, cwd=ROOT, check=True, timeout=60)


@pytest.mark.programs
def test_who_asks_for_a_gpu_sees_it_by_uuid_and_who_asks_for_none_sees_none(
    site: SiteFolder,
) -> None:
    half = dataclasses.replace(small(), gpu_milli=500)
    both = dataclasses.replace(small(), gpu_milli=2000)
    lease = site.offered(
        dataset(
            Step("none", shell(SEES), request=small()),
            Step("half", shell(SEES), request=half),
            Step("both", shell(SEES), request=both, environment=(("CUDA_VISIBLE_DEVICES", "0"),)),
        )
    )
    run(site, "GPU-a,GPU-b")
    logs = [
        site.log(lease, one).decode().strip()
        for one in sorted(site.attempts(lease), key=lambda one: one.step)
    ]
    assert logs[0] == "//0/1/64"
    assert logs[1] in ("GPU-a/GPU-a/0.5/1/64", "GPU-b/GPU-b/0.5/1/64")
    assert logs[2] == "GPU-a,GPU-b/GPU-a,GPU-b/2/1/64"


@pytest.mark.programs
def test_a_task_for_a_gpu_goes_back_untouched_where_there_is_none(site: SiteFolder) -> None:
    ask = dataclasses.replace(small(), gpu_milli=1000)
    data = dataset(
        Step("cpu", shell("true"), request=small()), Step("gpu", shell("true"), request=ask)
    )
    lease = site.offered(data)
    run(site)
    ((_, _, segment),) = site.seals(lease)
    assert [(one.step, one.fate) for one in site.attempts(lease)] == [(0, Fate.SUCCESS)]
    assert not segment.complete


@pytest.mark.programs
def test_a_task_that_would_outlast_the_allocation_goes_back_and_a_short_one_runs(
    site: SiteFolder,
) -> None:
    long, short = small(walltime_ms=3_600_000), small(walltime_ms=20_000)
    data = dataset(
        Step("long", shell("true"), request=long), Step("short", shell("true"), request=short)
    )
    lease = site.offered(data)
    run(site, end_us=time.time_ns() // 1000 + 600_000_000)
    ((_, _, segment),) = site.seals(lease)
    assert [(one.step, one.fate) for one in site.attempts(lease)] == [(1, Fate.SUCCESS)]
    assert not segment.complete


@pytest.mark.programs
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core is everybody's")
def test_two_tasks_that_ask_for_a_core_each_run_on_different_ones(site: SiteFolder) -> None:
    code = "import os, time; print(sorted(os.sched_getaffinity(0))); time.sleep(1)"
    whole = dataclasses.replace(small(), cpu_milli=1000 * len(os.sched_getaffinity(0)))
    lease = site.offered(dataset(Step("core", python(code), request=small()), jobs=2))
    other = site.offered(dataset(Step("node", python(code), request=whole)))
    run(site)
    cores = [site.log(lease, one) for one in site.attempts(lease)]
    assert fates(site.attempts(lease)) == [Fate.SUCCESS] * 2
    assert all(len(one.split(b",")) == 1 for one in cores) and cores[0] != cores[1]
    everything = str(sorted(os.sched_getaffinity(0)))
    assert site.log(other, site.only(other)).decode().strip() == everything
