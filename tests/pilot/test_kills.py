"""Processes killed at any moment: nothing recorded is lost, nothing of a task is left running."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from bundle.dataset.spec import Output, Step
from bundle.fates import Fate, counts
from bundle.ids import PilotRun
from bundle.retry import History
from bundle.spool.journal import read_journal
from bundle.spool.records import Journaled, read_records
from pilot import linux
from tests.pilot.site_folder import SiteFolder, dataset, fates, instant, python, shell, small
from tests.pilot.test_shards import until

pytestmark = pytest.mark.programs

NAP = Step("nap", instant(2000, wall_ms=5), outputs=(Output("o"),), request=small())


def journal_of(site: SiteFolder) -> Journaled:
    """Read the one journal that a killed pilot left."""
    paths = list(site.spool.folder("claimed").glob("*/*.journal"))
    if not paths:
        return Journaled(None, (), {}, ())
    return read_records(read_journal(paths[0]).records)


def gone(pid: int) -> bool:
    """Return whether a process ended (its parent may not have noticed)."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


@pytest.mark.parametrize("seed", range(6))
def test_a_pilot_killed_at_a_random_moment_leaves_what_it_recorded(
    site: SiteFolder, seed: int
) -> None:
    ledger = site.root / "ledger"
    lease = site.offered(dataset(NAP, jobs=400))
    draw = random.Random(seed)
    with site.start(slots=2, idle_s=30, PULK_LEDGER=str(ledger)) as process:
        until(lambda: ledger.exists() or process.poll() is not None)
        time.sleep(draw.uniform(0, 1.2))
        family = linux.descendants(process.pid)
        process.kill()
    until(lambda: all(gone(pid) for pid in family))
    journaled = journal_of(site)
    assert not site.seals(lease)
    ended = {line.split()[0].rsplit(":", 1)[1] for line in ledger.read_text().splitlines()}
    for attempt in journaled.attempts:
        assert attempt.fate is Fate.SUCCESS and str(attempt.local) in ended
        for digest, size in attempt.outputs:
            assert site.spool.data(digest).stat().st_size == size


def test_a_record_follows_its_task_within_the_stated_window(site: SiteFolder) -> None:
    slow = Step("slow", shell("test $PULK_JOB = 0 || sleep 30; echo x > o"), outputs=(Output("o"),))
    site.offered(dataset(slow, jobs=2))
    with site.start(slots=1, idle_s=30) as process:
        until(lambda: len(journal_of(site).attempts) == 1, limit_s=3)
        process.kill()
    assert fates(journal_of(site).attempts) == [Fate.SUCCESS]


def test_the_tasks_of_a_killed_pilot_die_with_it(site: SiteFolder) -> None:
    marker = site.root / "pids"
    code = f"(setsid sleep 300 & echo $! >> {marker}); echo $$ >> {marker}; exec sleep 300"
    site.offered(dataset(Step("sleeps", shell(code), request=small())))
    with site.start(slots=1, idle_s=30, isolation="plain") as process:
        until(lambda: marker.exists() and len(marker.read_text().split()) == 2)
        process.kill()
    until(lambda: all(gone(int(pid)) for pid in marker.read_text().split()))


def test_a_killed_slot_is_replaced_and_its_task_tried_again(site: SiteFolder) -> None:
    marker = site.root / "pids"
    code = f"echo $$ >> {marker}; test $(wc -l < {marker}) = 2 || exec sleep 300"
    lease = site.offered(dataset(Step("once", shell(code), failures_max=1)))
    with site.start(slots=1, idle_s=1, isolation="plain") as process:
        until(lambda: marker.exists() and marker.read_text().strip())
        (task,) = map(int, marker.read_text().split())
        parent = int(Path(f"/proc/{task}/stat").read_text().rpartition(")")[2].split()[1])
        assert parent != process.pid
        os.kill(parent, signal.SIGKILL)
        assert process.wait(30) == 0
    assert gone(task)
    first, second = site.attempts(lease)
    assert first.fate is Fate.NODE_FAILURE and "signal 9" in first.evidence
    assert second.fate is Fate.SUCCESS


def test_a_slot_whose_first_process_was_killed_is_replaced_and_blames_no_task(
    site: SiteFolder,
) -> None:
    with site.start(slots=1, idle_s=30) as process:
        until(lambda: any(site.spool.folder("claimed").glob("*/claim")))
        (slot,) = linux.children(process.pid)
        (first,) = linux.children(slot)
        os.kill(first, signal.SIGKILL)
        lease = site.offered(dataset(Step("once", shell("true"), failures_max=1)))
        until(lambda: bool(site.seals(lease)))
        process.terminate()
        assert process.wait(30) == 0
    assert fates(site.attempts(lease)) == [Fate.NODE_FAILURE, Fate.SUCCESS]


def test_a_task_that_kills_its_slot_is_given_up_after_a_few_tries(site: SiteFolder) -> None:
    code = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    lease = site.offered(dataset(Step("poison", python(code), request=small())))
    site.run(slots=1, isolation="plain")
    ((_, _, segment),) = site.seals(lease)
    assert segment.complete and fates(segment.attempts) == [Fate.NODE_FAILURE] * 3


def test_what_ended_before_a_task_that_kills_its_pilot_keeps_its_record(site: SiteFolder) -> None:
    twice = History(lost_on=frozenset(PilotRun(bytes([n]) * 8) for n in (1, 2)), losses=2)
    poison = python(
        "import os, signal\n"
        "slot = open(f'/proc/{os.getppid()}/stat').read()\n"
        "os.kill(int(slot.rpartition(')')[2].split()[1]), signal.SIGKILL)\n"
    )
    steps = (
        Step("innocent", shell("true"), request=small()),
        Step("poison", poison, request=small()),
    )
    site.offered(dataset(*steps), tried=((0, 0, twice), (0, 1, twice)))
    with site.start(slots=1, idle_s=30, isolation="plain") as process:
        assert process.wait(30) == -signal.SIGKILL
    assert fates(journal_of(site).attempts) == [Fate.SUCCESS]


def test_a_term_signal_to_the_whole_group_stops_tasks_and_seals(site: SiteFolder) -> None:
    started = site.root / "started"
    code = f"touch {started}; exec sleep 60"
    lease = site.offered(dataset(Step("sleeps", shell(code), request=small())))
    with site.start(slots=2, idle_s=30) as process:
        until(started.exists)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(20) == 0
    ((_, _, segment),) = site.seals(lease)
    assert fates(segment.attempts) == [Fate.PREEMPTED] and not segment.complete


def test_a_pilot_that_was_thought_dead_stops_and_its_late_seal_counts_no_failure(
    site: SiteFolder,
) -> None:
    nap = Step("nap", instant(wall_ms=200), request=small(), failures_max=1)
    lease = site.offered(dataset(nap, jobs=400))
    with site.start(slots=2, idle_s=30) as process:
        until(lambda: len(journal_of(site).attempts) > 1)
        (folder,) = site.spool.folder("claimed").iterdir()
        folder.rename(site.spool.folder("tmp") / "salvaged")  # as a relay does
        assert process.wait(20) == 0
    ((_, _, segment),) = site.seals(lease)
    assert not segment.complete and len(segment.attempts) < 40
    assert not [one for one in segment.attempts if counts(one.fate)]
    assert not list(site.spool.folder("claimed").iterdir())


def test_a_full_disk_ends_the_pilot_and_keeps_what_was_recorded(site: SiteFolder) -> None:
    lease = site.offered(dataset(NAP, jobs=2000))
    with site.start(slots=2, idle_s=30) as process:
        until(lambda: len(journal_of(site).attempts) > 0)
        (journal,) = site.spool.folder("claimed").glob("*/*.journal")
        import resource

        size = journal.stat().st_size
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        assert process.wait(30) == 75
    assert not site.seals(lease) and len(journal_of(site).attempts) > 0
    assert list(site.spool.folder("claimed").glob("*/*.shard"))
