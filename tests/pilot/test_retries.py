"""Real tasks tried again at the site: with more of what ran out, later, or not here."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bundle.dataset.spec import Output, Request, Step
from bundle.fates import Fate
from bundle.ids import PilotRun
from bundle.records.attempt import Attempt
from bundle.records.lease import Lease
from bundle.records.rules import History, Maximum, RetryRules
from bundle.spool.journal import read_journal
from bundle.spool.records import read_records
from bundle.wire.manifest import Rules
from tests.pilot.site_folder import SiteFolder, dataset, fates, instant, python, shell, small
from tests.pilot.test_shards import until

pytestmark = pytest.mark.programs

HOLD = "import time; held = b'x' * (300 << 20); time.sleep(0.7)"


def tried(site: SiteFolder, step: Step, **told: object) -> list[Attempt]:
    """Run a dataset of one step and task; return its attempts."""
    lease = site.offered(dataset(step), **told)
    site.run(slots=1)
    return site.attempts(lease)


def assert_more_did(found: list[Attempt], fate: Fate) -> None:
    """It may be stopped once more: what is seen in the middle of growing is not the peak."""
    *again, last = fates(found)
    assert last is Fate.SUCCESS and again in ([], [fate])


def test_a_task_that_ran_out_of_memory_succeeds_with_more_and_no_more_of_anything_else(
    site: SiteFolder,
) -> None:
    first, *more = tried(site, Step("big", python(HOLD), request=small(memory_mib=64)))
    assert first.fate is Fate.OOM and "requested 64 MiB" in first.evidence
    assert_more_did(more, Fate.OOM)
    assert more[-1].usage.memory_peak_mib >= 300


def test_a_task_that_ran_out_of_time_gets_more(site: SiteFolder) -> None:
    step = Step(
        "slow",
        shell("sleep 1.2"),
        request=small(walltime_ms=400),
        retry=RetryRules(walltime_milli=2000),
    )
    assert fates(tried(site, step)) == [Fate.TIME_LIMIT, Fate.TIME_LIMIT, Fate.SUCCESS]


def test_a_task_that_ran_out_of_disk_gets_more(site: SiteFolder) -> None:
    code = "for i in 1 2 3 4; do head -c 2000000 /dev/zero > $i; done; sleep 1.3"
    step = Step("wide", shell(code), request=small(disk_bytes=3 << 20))
    first, *more = tried(site, step)
    assert first.fate is Fate.DISK_LIMIT
    assert_more_did(more, Fate.DISK_LIMIT)


def test_what_never_fits_ends_with_its_budget(site: SiteFolder) -> None:
    rules = RetryRules(memory_mib_max=80)
    step = Step("big", python(HOLD), request=small(memory_mib=64), failures_max=9, retry=rules)
    found = tried(site, Step(**_with(step, retry=RetryRules(memory_mib_max=80, resources_max=2))))
    assert fates(found) == [Fate.OOM] * 2
    assert [one.evidence.rsplit(" ", 2)[1] for one in found] == ["64", "80"]


def _with(step: Step, **fields: object) -> dict[str, object]:
    return {name: fields.get(name, getattr(step, name)) for name in Step.__slots__}


def test_a_task_that_outgrew_the_site_is_left_to_central(site: SiteFolder) -> None:
    step = Step("big", python(HOLD), request=small(memory_mib=64), failures_max=9)
    told = Rules(maximum=Maximum(memory_mib=200))
    lease = site.offered(dataset(step), rules=told)
    site.run(slots=1)
    ((_, _, segment),) = site.seals(lease)
    assert segment.complete and fates(segment.attempts) in ([Fate.OOM], [Fate.OOM] * 2)
    assert segment.attempts[-1].usage.memory_peak_mib >= 200


def test_a_lease_tells_the_pilot_what_was_tried_and_what_was_learned(site: SiteFolder) -> None:
    step = Step("big", python(HOLD), request=small(memory_mib=64))
    history = History(((Fate.OOM, 1),), memory_peak_mib=305)
    assert fates(tried(site, step, tried=((0, 0, history),))) == [Fate.SUCCESS]
    first = Request(memory_mib=400, walltime_ms=60_000)
    assert fates(tried(site, step, asks=((0, first),))) == [Fate.SUCCESS]
    pilots = frozenset(PilotRun(bytes([n]) * 8) for n in range(3))
    assert tried(site, step, tried=((0, 0, History(lost_on=pilots, losses=3)),)) == []


def test_a_task_that_failed_waits_while_others_go_first(site: SiteFolder) -> None:
    code = "test $PULK_JOB != 0 || test -e {mark} || {{ touch {mark}; exit 3; }}; echo x > o"
    step = Step(
        "flaky",
        shell(code.format(mark=site.root / "mark")),
        outputs=(Output("o"),),
        request=small(),
        retry=RetryRules(backoff_ms=1500, jitter_milli=0),
    )
    lease = site.offered(dataset(step, jobs=4))
    site.run(slots=1)
    found = site.attempts(lease)
    assert [one.job for one in found] == [0, 1, 2, 3, 0]
    assert found[-1].started_mono_us - found[0].ended_mono_us >= 1_500_000


def test_the_journal_tells_under_which_tasks_a_pilot_died(site: SiteFolder) -> None:
    started = site.root / "started"
    sleeps = Step("sleeps", shell(f"echo $PULK_JOB >> {started}; exec sleep 60"), request=small())
    naps = Step("naps", instant(), request=small())
    lease = site.offered(dataset(naps, sleeps, jobs=2))
    with site.start(slots=2, idle_s=30) as process:
        until(lambda: started.exists() and len(started.read_text().split()) == 2)
        until(lambda: len(open_tasks(site)) == 2)
        os.killpg(process.pid, signal.SIGKILL)
    assert open_tasks(site) == {(1, 0), (1, 1)}
    assert not site.seals(lease)


def open_tasks(site: SiteFolder) -> set[tuple[int, int]]:
    paths: list[Path] = list(site.spool.folder("claimed").glob("*/*.journal"))
    found = [one for path in paths for one in read_records(read_journal(path).records).open]
    return {(one.step, one.job) for one in found}


def test_a_pilot_that_dies_at_once_has_written_what_it_began(site: SiteFolder) -> None:
    code = (
        "import os, signal; stat = open(f'/proc/{os.getppid()}/stat').read();"
        "os.kill(int(stat.rpartition(')')[2].split()[1]), signal.SIGKILL)"
    )
    lease: Lease = site.offered(dataset(Step("poison", python(code), request=small())))
    with site.start(slots=1, idle_s=30, isolation="plain") as process:
        assert process.wait(30) == -signal.SIGKILL
    assert open_tasks(site) == {(0, 0)} and not site.seals(lease)
