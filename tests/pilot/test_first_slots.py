"""The first slots are forks of a young pilot: they share its memory, and none of its secrets."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from bundle.dataset.spec import Step
from bundle.fates import Fate
from tests.pilot.site_folder import SiteFolder, dataset, fates, shell, small

pytestmark = pytest.mark.programs

SIGNING = "cryptography"  # a part of the path of every file that signs
FAMILY_MIB = 40


def mapped(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def pss_kib(pid: int) -> int:
    """What a process takes of memory, shared pages by its share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise AssertionError("the kernel does not tell")


def running(site: SiteFolder, tasks: int, limit_s: float = 60.0) -> None:
    """Wait until so many tasks run."""
    end_s = time.monotonic() + limit_s
    while len(list(site.spool.folder("claimed").glob("*/slots/*/began"))) < tasks:
        assert time.monotonic() < end_s, "they did not begin"
        time.sleep(0.02)


def slots_of(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children()]


def is_interpreter(pid: int) -> bool:
    """Whether a slot was started as a program of its own."""
    with contextlib.suppress(OSError):
        return "from pilot.slot import main" in Path(f"/proc/{pid}/cmdline").read_text()
    return False


def test_slots_share_a_pilots_memory_and_hold_nothing_that_signs(site: SiteFolder) -> None:
    wait = Step("wait", shell("touch began; sleep 1"), request=small())
    lease = site.offered(dataset(wait, jobs=2))
    with site.start(slots=2, isolation="plain") as pilot:
        running(site, 2)
        slots = slots_of(pilot.pid)
        try:
            maps = {pid: mapped(pid) for pid in (pilot.pid, *slots)}
        except PermissionError:
            pytest.skip("the maps of a process that hides are its owner's alone")
        family = sum(map(pss_kib, maps))
        names = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in slots]
        assert pilot.wait(60) == 0
    assert SIGNING in maps[pilot.pid]
    assert sorted(names) == ["pilot-slot-0", "pilot-slot-1"]
    assert not any(SIGNING in maps[pid] for pid in slots)
    assert family <= FAMILY_MIB << 10
    assert fates(site.attempts(lease)) == [Fate.SUCCESS] * 2


def test_a_slot_in_a_dead_ones_place_is_a_new_interpreter_that_runs_tasks(
    site: SiteFolder,
) -> None:
    """By then the pilot has its key, so it forks no more."""
    lease = site.offered(dataset(Step("wait", shell("touch began; sleep 1"), request=small())))
    with site.start(slots=1, isolation="plain") as pilot:
        running(site, 1)
        (first,) = slots_of(pilot.pid)
        os.kill(first, signal.SIGKILL)
        end_s = time.monotonic() + 60
        while not any(is_interpreter(pid) for pid in slots_of(pilot.pid)):
            assert time.monotonic() < end_s, "no interpreter of a slot was started"
            time.sleep(0.02)
        assert pilot.wait(60) == 0
    assert fates(site.attempts(lease)) == [Fate.NODE_FAILURE, Fate.SUCCESS]
