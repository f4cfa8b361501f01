"""Salvage: what a dead pilot journaled counts once, whatever byte its journal ends at."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.fates import Fate
from bundle.ids import PilotRun
from bundle.records import seal as seals
from bundle.records.attempt import Attempt
from bundle.records.segment import Segment, SegmentHeader
from bundle.spool import publish, records
from bundle.spool.journal import frame_of, read_journal
from bundle.spool.layout import ShardName
from bundle.spool.records import Begun
from bundle.trust.keys import MemoryKey
from relay import quarantine, works
from relay.salvage import salvage, state_of
from relay.tick import tick
from site_adapters import process
from site_adapters.contract import PilotState, PilotView
from site_adapters.local import LocalAdapter
from tests.relay.world import Pilot, World, make_world


def dead_pilot(world: World) -> tuple[Pilot, SegmentHeader]:
    """Return a pilot that took a shard, and whose process is gone, as this machine can tell."""
    pilot = world.pilot(host=platform.node(), boot_id="an earlier boot")
    header = pilot.take()
    assert header is not None
    return pilot, header


def salvaged(world: World) -> list[Segment]:
    found = world.results(world.out("out", "sent"))
    return [segment for one in found for segment in one.segments]


def test_a_killed_pilots_tasks_count_and_the_rest_is_offered_again(world: World) -> None:
    lease = world.lease(0, range(4))
    world.deliver(world.pack(lease))
    tick(world.home)
    pilot, header = dead_pilot(world)
    path, attempts = pilot.journal(header, [0, 1])
    size = path.stat().st_size
    assert tick(world.home).salvaged == 1
    (segment,) = salvaged(world)
    assert segment.attempts == tuple(attempts)
    assert (segment.salvaged_at, segment.complete) == (size, False)
    assert [path.stem for path in world.out("claimable")] == [str(ShardName(lease.lease, 2))]
    assert not world.out("claimed")
    (result,) = world.results(world.out("out", "sent"))
    (entry,) = result.manifest.segments
    assert (entry.pilot_key, entry.pilot_signature) == (pilot.key.public, b"")
    assert entry.batch_id == "by-hand"


def begun(job: int, local: int) -> Begun:
    return Begun(local, job, 0, 0, slot=1, started_us=5_000_000, started_mono_us=7)


def test_what_had_begun_and_not_ended_is_stated_as_lost(world: World) -> None:
    world.deliver(world.pack(world.lease(0, range(4))))
    tick(world.home)
    pilot, header = dead_pilot(world)
    path, (ended,) = pilot.journal(header, [0], begun=[begun(0, 0), begun(1, 1), begun(2, 2)])
    with path.open("ab") as journal:
        journal.write(frame_of(records.begun_record([begun(3, 3)], back=[2])))
    tick(world.home)
    (segment,) = salvaged(world)
    first, *others = segment.attempts
    assert first == ended
    assert [(one.job, one.local, one.fate) for one in others] == [
        (1, 1, Fate.LOST),
        (3, 3, Fate.LOST),
    ]
    assert others[0].started_us == 5_000_000 and others[0].usage.wall_ms == 0
    assert "pilot was lost" in others[0].evidence
    assert not segment.complete and len(world.out("claimable")) == 1


def test_a_pilot_that_died_under_its_first_task_is_told_of(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    pilot, header = dead_pilot(world)
    pilot.journal(header, [], begun=[begun(0, 0)])
    tick(world.home)
    (segment,) = salvaged(world)
    assert [one.fate for one in segment.attempts] == [Fate.LOST]
    assert len(world.out("claimable")) == 1


def test_a_pilot_that_may_still_live_is_left_alone(world: World) -> None:
    world.deliver(world.pack(world.lease(0, range(4))))
    tick(world.home)
    pilot = world.pilot()  # on another host: unknown
    header = pilot.take()
    assert header is not None
    pilot.journal(header, [0])
    assert tick(world.home).salvaged == 0
    assert not salvaged(world)


def test_while_the_scheduler_says_nothing_a_dead_pilots_batch_job_is_left_to_it(
    world: World,
) -> None:
    world.deliver(world.pack(world.lease(0, range(4))))
    tick(world.home)
    pilot = world.pilot(host=platform.node(), boot_id="an earlier boot", batch_id="slurm:x:0:0:0")
    header = pilot.take()
    assert header is not None
    pilot.journal(header, [0])

    class Obedient(LocalAdapter):
        """Ends whatever it is asked to, and would say so at once."""

        def clear(self, batch_id: str, mark: str) -> bool:
            del batch_id, mark
            return True

    home = replace(world.home, adapter=Obedient(world.home.folder / "pilots"))

    def salvaged_when(state: PilotState) -> int:
        view = PilotView("x", "slurm:x:0:0:0", state, 1)
        return salvage(home, works.live(world.spool), {view.batch_id: view})

    assert salvaged_when(PilotState.UNKNOWN) == 0
    assert salvaged_when(PilotState.RUNNING) == 0
    assert salvaged_when(PilotState.ABSENT) == 1


@pytest.mark.sweeps
def test_a_journal_cut_at_every_byte_of_its_last_record_loses_that_record_only(
    world: World,
) -> None:
    probe = frame_of(records.attempt_record(_ended(1), b"log 1"))
    cuts = range(len(probe) + 1)
    world.deliver(world.pack(*(world.lease(n, [0, 1], returns=()) for n in cuts)))
    tick(world.home)
    expected, torn = {}, set()
    for cut in cuts:
        pilot, header = dead_pilot(world)
        path, attempts = pilot.journal(header, [0, 1])
        last = len(frame_of(records.attempt_record(attempts[1], b"log 1")))
        assert last == len(probe)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) - last + cut])
        expected[pilot.run] = tuple(attempts) if cut == last else (attempts[0],)
        if 0 < cut < last:
            torn.add(whole[-last:][:cut])
    assert tick(world.home).salvaged == len(cuts)
    assert {s.header.pilot_run: s.attempts for s in salvaged(world)} == expected
    assert {one.path.read_bytes() for one in quarantine.every(world.spool)} == torn


def _ended(job: int) -> Attempt:
    outputs = ((bytes(32), 15),)
    return Attempt(job, 0, 0, job, Fate.SUCCESS, 0, 0, 1, 1, 2, 0, outputs=outputs)


def test_a_pilot_killed_between_seal_and_clean_up_is_not_counted_twice(world: World) -> None:
    world.deliver(world.pack(world.lease(0, range(2))))
    tick(world.home)
    pilot, header = dead_pilot(world)
    journal, attempts = pilot.journal(header, [0, 1])
    held = world.spool.held_shard(pilot.run, pilot.name(header).shard)
    kept = {path: path.read_bytes() for path in (journal, held)}
    pilot.seal(header, attempts)
    for path, raw in kept.items():
        path.write_bytes(raw)
    tick(world.home)
    tick(world.home)
    (segment,) = salvaged(world)
    assert segment.salvaged_at is None
    assert not world.out("claimable", "claimed")


def test_a_pilot_that_died_before_its_first_task_ended_leaves_no_seal(world: World) -> None:
    lease = world.lease(0, range(2))
    world.deliver(world.pack(lease))
    tick(world.home)
    pilot, header = dead_pilot(world)
    pilot.journal(header, [])
    tick(world.home)
    assert not salvaged(world)
    assert [path.stem for path in world.out("claimable")] == [str(ShardName(lease.lease, 2))]


def test_a_folder_left_by_a_pilot_that_never_claimed_goes_after_a_while(world: World) -> None:
    tick(world.home)
    old, young = (world.spool.claimed(PilotRun(bytes([n]) * 8)) for n in (1, 2))
    for folder in (old, young):
        publish.make_folder(folder / "slots" / "0")
        (folder / "slots" / "0" / "file").touch()
    os.utime(old, (1, 1))
    tick(world.home)
    assert world.out("claimed") == [young] and not world.out("tmp")


def test_an_unreadable_journal_goes_to_quarantine_whole(world: World) -> None:
    world.deliver(world.pack(world.lease(0, range(2))))
    tick(world.home)
    pilot, header = dead_pilot(world)
    path, _ = pilot.journal(header, [0])
    path.write_bytes(frame_of({"kind": "header", "header": {}}))
    raw = path.read_bytes()
    tick(world.home)
    (refused,) = quarantine.every(world.spool)
    assert refused.path.read_bytes() == raw
    assert len(world.out("claimable")) == 1


def test_a_shard_that_kills_every_pilot_is_given_up_after_its_turns(tmp_path: Path) -> None:
    world = make_world(tmp_path, "[pilots]\ncount = 0\nturns_max = 3\n")
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    turns = 0
    while world.out("claimable"):
        dead_pilot(world)
        turns += 1
        tick(world.home)
    assert turns == 3


def test_whether_a_pilot_lives_is_told_by_pid_and_start(world: World) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    try:
        found = process.look(child.pid)
        assert found is not None
        me = {"host": platform.node(), "boot_id": process.boot_id(), "pid": child.pid}
        pilot = world.pilot(**me, start_ticks=found.start_ticks)
        raw = world.spool.claim(pilot.run).read_bytes()
        claim = seals.decode_claim(raw, where="claim")
        # Its wall clock is that of 1970: a clock that was set since tells nothing.
        assert state_of(claim, {}) is PilotState.RUNNING
        other = replace(claim, start_ticks=found.start_ticks - 1)
        assert state_of(other, {}) is PilotState.ABSENT  # its pid, another process
    finally:
        child.kill()
        child.wait()
    assert state_of(claim, {}) is PilotState.ABSENT


@pytest.mark.parametrize("harm", ["signature", "lease", "garbage", "name"])
def test_a_bad_seal_is_set_aside_and_its_shard_offered_again(world: World, harm: str) -> None:
    lease = world.lease(0, range(2))
    world.deliver(world.pack(lease))
    tick(world.home)
    pilot = world.pilot()
    header = pilot.take()
    assert header is not None
    _, attempts = pilot.journal(header, [0, 1])
    if harm == "signature":
        path = pilot.seal(header, attempts, key=MemoryKey.generate())
    elif harm == "lease":
        path = pilot.seal(header, [replace(attempts[0], job=99)])
    else:
        path = pilot.seal(header, attempts)
    if harm == "garbage":
        path.write_bytes(b"garbage")
    if harm == "name":
        path.rename(path.with_name(f"{ShardName(lease.lease, 7)}-{os.urandom(8).hex()}.seal"))
    tick(world.home)
    (refused,) = quarantine.every(world.spool)
    assert refused.code in ("seal-refused", "not-canonical")
    assert not salvaged(world)
    assert [one.stem[:32] for one in world.out("claimable")] == [lease.lease.hex()]


def test_a_salvaged_log_travels(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    pilot, header = dead_pilot(world)
    path, _ = pilot.journal(header, [0])
    assert read_journal(path).records[1]["log"] == b"log 0"
    tick(world.home)
    (result,) = world.results(world.out("out", "sent"))
    assert [chunk.kind for chunk in result.manifest.chunks].count("logs") == 1
    assert result.segments[0].attempts[0].fate is Fate.SUCCESS


@pytest.mark.parametrize("ticks_between", [0, 1])
def test_the_late_seal_of_a_pilot_that_was_thought_dead_travels_too(
    world: World, ticks_between: int
) -> None:
    world.deliver(world.pack(world.lease(0, range(4))))
    tick(world.home)
    pilot, header = dead_pilot(world)
    _, attempts = pilot.journal(header, range(4))
    journal = world.spool.journal(pilot.run, pilot.name(header).shard)
    journal.write_bytes(journal.read_bytes()[:-10])  # the last one is recorded after the salvage
    tick(world.home)
    for _ in range(ticks_between):
        tick(world.home)
    pilot.seal(header, attempts)
    for _ in range(3):
        tick(world.home)
    assert [one.attempts for one in salvaged(world)] == [tuple(attempts[:3]), tuple(attempts)]
    assert not world.out("sealed")
