"""A shard from claim to seal: earlier turns, other shards, budgets, drain, several pilots."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle.dataset import graph
from bundle.dataset.spec import Generated, Input, Output, Per, Step
from bundle.fates import Fate
from bundle.intervals import IntervalSet
from bundle.records import seal as seals
from bundle.records import telemetry
from bundle.records.attempt import outcome_digest
from bundle.records.lease import Block
from bundle.records.seal import SEAL_PAYLOAD_TYPE
from bundle.records.segment import segment_digest
from bundle.spool.publish import make_folder
from bundle.trust.keys import verify
from bundle.wire.preauth import pae
from tests.pilot.site_folder import (
    SiteFolder,
    command,
    dataset,
    fates,
    instant,
    python,
    shell,
    small,
)

pytestmark = pytest.mark.programs


def until(condition: Callable[[], object], limit_s: float = 10.0) -> None:
    """Wait for something another process does."""
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.01)


def chain(jobs: int = 4) -> object:
    first = Step("first", instant(100), outputs=(Output("o"),), request=small())
    second = Step(
        "second",
        instant(50),
        needs=(0,),
        inputs=(Input(0, 0, "i"),),
        outputs=(Output("o"),),
        request=small(),
    )
    last = Step(
        "last",
        instant(10),
        per=Per.DATASET,
        needs=(1,),
        inputs=(Input(1, 0, "i"),),
        generated=(Generated("g", 10, 1),),
        outputs=(Output("o"),),
        request=small(),
    )
    return dataset(first, second, last, jobs=jobs)


def test_a_shard_is_run_whole_and_sealed_with_the_pilots_signature(site: SiteFolder) -> None:
    data = chain()
    lease = site.offered(data)
    site.run()
    ((name, seal, segment),) = site.seals(lease)
    assert segment.complete and segment.salvaged_at is None and name.shard.turn == 1
    assert segment.header.work in {path.name for path in site.spool.folder("work").iterdir()}
    assert fates(segment.attempts) == [Fate.SUCCESS] * 9
    message = pae(SEAL_PAYLOAD_TYPE, segment_digest(seal.segment))
    assert verify(seal.pilot_key, message, seal.signature)
    assert segment.header.host.offline == "namespace" or segment.header.host.offline[:5] == "none:"
    telemetry.decode(seal.telemetry)
    assert seal.batch_id == "test-1"
    for folder in ("claimable", "claimed", "tmp"):
        assert not list(site.spool.folder(folder).iterdir())


def test_every_edge_is_respected_in_time_and_by_digest(site: SiteFolder) -> None:
    data = chain(6)
    lease = site.offered(data)
    site.run(slots=2)
    by_place = {(one.step, one.job): one for one in site.attempts(lease)}
    for place, attempt in by_place.items():
        parents = [by_place[parent] for parent in graph.parents(data, *place)]
        assert attempt.consumed == tuple(outcome_digest(parent.outputs) for parent in parents)
        assert all(parent.ended_mono_us <= attempt.started_mono_us for parent in parents)


def test_a_shard_that_needs_others_uses_their_outputs(site: SiteFolder) -> None:
    data = chain(4)
    halves = [[Block(1, IntervalSet.of(jobs), (0, 1))] for jobs in ([0, 1], [2, 3])]
    join = [Block(1, IntervalSet.of([0]), (2,))]
    bundle, leases = site.work(data, [*halves, join], needs={2: [0, 1]})
    for lease in leases[:2]:
        site.offer(bundle, lease)
    site.run()
    kept = site.spool.kept_seals(bundle)  # one half's seal travels already
    make_folder(kept)
    (name, *_), *_ = site.seals(leases[0])
    site.spool.seal(name).rename(kept / str(name))
    site.offer(bundle, leases[2])
    site.run()
    attempt = site.only(leases[2])
    assert attempt.fate is Fate.SUCCESS and len(attempt.consumed) == 4


def test_a_second_turn_goes_on_where_the_first_one_ended(site: SiteFolder) -> None:
    code = "test -e {0} && exit 1; test $PULK_JOB = 0 || sleep 60; echo $PULK_JOB > o"
    slow = Step("slow", shell(code.format("none")), outputs=(Output("o"),), request=small())
    bundle, (lease,) = site.work(dataset(slow, jobs=2))
    site.offer(bundle, lease)
    with site.start(slots=1, idle_s=30) as process:
        until(lambda: any(_claimed(site, "*.journal", 700)))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    ((_, _, segment),) = site.seals(lease)
    assert not segment.complete
    assert fates(segment.attempts) == [Fate.SUCCESS, Fate.PREEMPTED]
    site.offer(bundle, lease, turn=2)
    with site.start(slots=1, idle_s=30) as process:
        until(lambda: any(_claimed(site, "*-0002.journal", 1)))
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert [one.job for one in site.seals(lease)[1][2].attempts] == [1]


def _claimed(site: SiteFolder, pattern: str, size_min: int) -> list[Path]:
    """Return the files of running pilots that match and hold at least so many bytes."""
    found = site.spool.folder("claimed").glob(f"*/{pattern}")
    return [path for path in found if path.stat().st_size >= size_min]


def test_retries_stay_within_what_is_left_of_the_budget(site: SiteFolder) -> None:
    fails = Step("fails", shell("exit 1"), failures_max=3, request=small())
    child = Step("child", command("true"), needs=(0,))
    bundle, (lease,) = site.work(dataset(fails, child, jobs=2), spent=[(1, 0, 2)])
    site.offer(bundle, lease)
    site.run()
    ((_, _, segment),) = site.seals(lease)
    assert segment.complete
    assert sorted(one.job for one in segment.attempts) == [0, 0, 0, 1]
    assert len({one.local for one in segment.attempts}) == 4


def test_failures_of_an_earlier_turn_count(site: SiteFolder) -> None:
    fails = Step("fails", shell("exit 1"), failures_max=2, request=small())
    bundle, (lease,) = site.work(dataset(fails))
    for turn in (1, 2):
        site.offer(bundle, lease, turn=turn)
        site.run()
    assert [len(one[2].attempts) for one in site.seals(lease)] == [2, 0]


def test_a_shard_whose_time_has_passed_is_left_alone(site: SiteFolder) -> None:
    bundle, (lease,) = site.work(chain())
    offered = site.offer(bundle, lease, start_before_us=time.time_ns() // 1000 - 1)
    site.run()
    assert site.spool.claimable(offered.name).exists() and not site.seals(lease)


def test_a_drain_file_lets_running_tasks_end_and_starts_no_more(site: SiteFolder) -> None:
    lease = site.offered(dataset(Step("slow", instant(wall_ms=400), request=small()), jobs=100))
    with site.start(slots=1, idle_s=60) as process:
        until(lambda: list(site.spool.folder("claimed").glob("*/*.journal")))
        site.spool.drain.touch()
        assert process.wait(20) == 0
    ((_, _, segment),) = site.seals(lease)
    assert not segment.complete and set(fates(segment.attempts)) == {Fate.SUCCESS}


def test_a_pilot_ends_after_idling(site: SiteFolder) -> None:
    began_s = time.monotonic()
    site.run(idle_s=0.5)
    assert 0.5 <= time.monotonic() - began_s < 5
    assert not list(site.spool.folder("claimed").iterdir())


def test_several_pilots_share_the_shards(site: SiteFolder) -> None:
    data = dataset(Step("nap", instant(wall_ms=30), request=small()), jobs=40)
    shards = [[Block(1, IntervalSet.of([job, job + 1]), (0,))] for job in range(0, 40, 2)]
    bundle, leases = site.work(data, shards)
    for lease in leases:
        site.offer(bundle, lease)
    pilots = [site.start(slots=1, idle_s=0.3) for _ in range(3)]
    for pilot in pilots:
        assert pilot.wait(30) == 0
    names = [name for lease in leases for name, *_ in site.seals(lease)]
    assert len(names) == 20 and len({name.pilot_run for name in names}) > 1


def test_the_claim_says_who_works_there(site: SiteFolder) -> None:
    with site.start(slots=2, idle_s=30) as process:
        until(lambda: _claimed(site, "claim", 1))
        (path,) = _claimed(site, "claim", 1)
        claim = seals.decode_claim(path.read_bytes(), where="claim")
        assert claim.pid == process.pid and claim.slots == 2 and claim.batch_id == "test-1"
        stat = Path(f"/proc/{process.pid}/stat").read_text()
        assert claim.start_ticks == int(stat.rpartition(")")[2].split()[19])
        assert path.parent == site.spool.claimed(claim.pilot_run)
        process.terminate()
        assert process.wait(20) == 0


def test_a_damaged_work_bundle_is_not_run_and_its_shard_not_lost(site: SiteFolder) -> None:
    bundle, (lease,) = site.work(chain())
    path = site.spool.work_bundle(bundle)
    raw = bytearray(path.read_bytes())
    raw[-10] ^= 1
    path.write_bytes(raw)
    offered = site.offer(bundle, lease)
    site.run()
    (held,) = site.spool.folder("claimed").glob("*/*.shard")
    assert held.name == f"{offered.name}.shard" and not site.seals(lease)


@pytest.mark.parametrize("limit", ["logs", "attempts"])
def test_a_full_segment_is_sealed_and_the_shard_goes_on_as_its_next_turn(
    site: SiteFolder, limit: str
) -> None:
    noisy = Step("noisy", shell("yes | head -c 60000"), request=small())
    quiet = Step("quiet", command("true"), request=small())
    data = dataset(noisy, jobs=400) if limit == "logs" else dataset(quiet, jobs=2500)
    lease = site.offered(data)
    site.run()
    found = site.seals(lease)
    assert [segment.complete for *_, segment in found] == [False, True]
    assert [name.shard.turn for name, *_ in found] == [1, 2]
    assert [segment.header.turn for *_, segment in found] == [1, 2]
    attempts = site.attempts(lease)
    assert sorted(one.job for one in attempts) == list(range(data.jobs))
    assert len({one.local for one in attempts}) == data.jobs
    for folder in ("claimable", "claimed", "tmp"):
        assert not list(site.spool.folder(folder).iterdir())


def test_a_pilot_imports_no_web_stack() -> None:
    import subprocess
    import sys

    code = (
        "import sys, pilot.cli, pilot.run, pilot.slot, pilot.config;"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20
    ).stdout
    for name in ("aiohttp", "asyncio", "pydantic", "sqlite3", "rich", "numpy"):
        assert f"'{name}'" not in found


def test_a_payload_in_python_runs_like_any_other(site: SiteFolder) -> None:
    lease = site.offered(dataset(Step("py", python("print(6 * 7)"), request=small())))
    site.run()
    assert site.log(lease, site.only(lease)) == b"42\n"
