"""Very many short tasks through one pilot: names on the shared filesystem by shard, memory flat."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundle.dataset.spec import Command, Step
from bundle.fates import Fate
from bundle.intervals import IntervalSet
from bundle.records.lease import Block
from tests.pilot.site_folder import SiteFolder, dataset, small
from tests.testbed.made import made_below

pytestmark = pytest.mark.programs

OF_A_PILOT = 12  # its folder, claim, slots and their places
OF_A_SEGMENT = 6  # a shard's claim, journal and seal, and the names that they had before
GROWTH_KIB = 4096
SEGMENT_TASKS = 2_000  # after so many of a shard a segment is sealed


@dataclass(frozen=True, slots=True)
class Ran:
    """`early_kib`: the pilot's peak of memory when a tenth was sealed; `late_kib`: in the end."""

    names: list[str]
    early_kib: int
    late_kib: int


def run(site: SiteFolder, tasks: int, shard_tasks: int, limit_s: float) -> Ran:
    step = Step("true", Command(("/bin/true",)), request=small())
    spans = [(at, min(at + shard_tasks, tasks)) for at in range(0, tasks, shard_tasks)]
    shards = [[Block(1, IntervalSet.spanning([span]), (0,))] for span in spans]
    bundle, leases = site.work(dataset(step, jobs=tasks), shards)
    for lease in leases:
        site.offer(bundle, lease)
    sealed = site.spool.folder("sealed")
    early = late = 0
    end_s = time.monotonic() + limit_s
    with made_below(site.spool.root) as made, site.start(slots=2) as process:
        while process.poll() is None:
            assert time.monotonic() < end_s
            made.look()
            late = max(late, peak_kib(process.pid))
            if not early and 10 * sum(1 for _ in sealed.iterdir()) >= len(shards):
                early = late
            time.sleep(0.02)
        assert process.returncode == 0
    attempts = [one for lease in leases for one in site.attempts(lease)]
    assert Counter(one.fate for one in attempts) == {Fate.SUCCESS: tasks}
    assert len({one.job for one in attempts}) == tasks
    return Ran(made.names, early, late)


def peak_kib(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def check(ran: Ran, tasks: int, shard_tasks: int) -> None:
    shards = -(-tasks // shard_tasks)
    segments = shards * -(-shard_tasks // SEGMENT_TASKS)
    assert len(ran.names) <= OF_A_PILOT + OF_A_SEGMENT * segments, ran.names[-30:]
    assert 0 < ran.late_kib <= ran.early_kib + GROWTH_KIB


@pytest.mark.sweeps
def test_a_pilot_makes_no_file_a_task_and_keeps_nothing_of_what_is_sealed(
    site: SiteFolder,
) -> None:
    check(run(site, 5_000, 500, 120), 5_000, 500)


@pytest.mark.campaign
@pytest.mark.parametrize("shard_tasks", [200, 10_000])
def test_a_hundred_thousand_tasks_leave_memory_flat(site: SiteFolder, shard_tasks: int) -> None:
    ran = run(site, 100_000, shard_tasks, 1800)
    print(len(ran.names), "names;", ran.early_kib, "then", ran.late_kib, "KiB")
    check(ran, 100_000, shard_tasks)
