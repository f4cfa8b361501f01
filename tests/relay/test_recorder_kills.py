"""SIGKILL of a pilot at every file operation of its recorder, full segments included."""

from __future__ import annotations

import os
import platform
from collections import Counter
from pathlib import Path

import pytest

from bundle.fates import Fate
from bundle.records.attempt import Attempt
from bundle.records.segment import SegmentHeader
from bundle.spool.layout import ShardName
from bundle.spool.records import Begun
from bundle.spool.shard import ShardFile
from pilot import recorder
from pilot.recorder import Group, Recorder, Started
from relay import quarantine, works
from relay.tick import tick
from tests.relay.test_crash import killed_at
from tests.relay.world import Pilot, World, make_world

pytestmark = pytest.mark.programs

JOBS = range(6)


@pytest.mark.parametrize("complete", [True, False])
def test_what_was_recorded_is_sealed_once_and_the_rest_is_offered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complete: bool
) -> None:
    monkeypatch.setattr(recorder, "ATTEMPTS_FULL", 4)
    at, killed = 0, True
    while killed:
        at += 1
        root = tmp_path / f"{at}"
        root.mkdir()
        world = make_world(root)
        world.deliver(world.pack(world.lease(0, JOBS)))
        tick(world.home)
        pilot = world.pilot(host=platform.node(), boot_id="an earlier boot")
        header = pilot.take()
        assert header is not None
        attempts = [pilot._attempt(job, job) for job in JOBS]
        killed = _recorded_until_killed(world, pilot, header, attempts, at, complete)
        for _ in range(2):
            tick(world.home)
        _check(world, header, _committed(world), ended=complete and not killed)
    assert at > 15


def _recorded_until_killed(
    world: World,
    pilot: Pilot,
    header: SegmentHeader,
    attempts: list[Attempt],
    at: int,
    complete: bool,
) -> bool:
    told = os.open(world.root / "committed", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    held = ShardFile(header.lease, header.turn, header.work, header.shard, 0)

    def work() -> None:
        one: Recorder

        def wake() -> None:
            os.write(told, b"%d\n" % one.committed)

        one = Recorder(world.spool, pilot.key, pilot.batch_id, wake)
        one.open(1, header, held)
        for first in JOBS[::2]:
            two = [Begun(a.local, a.job, 0, 0, 0, 1, 1) for a in attempts[first : first + 2]]
            one.begin(Started({1: two}))
            one.record(Group([(1, a, b"log") for a in attempts[first : first + 2]]))
        one.seal(1, complete=complete)
        one.close()
        pilot.end()

    try:
        return killed_at(at, work)
    finally:
        os.close(told)


def _committed(world: World) -> int:
    return max(map(int, (world.root / "committed").read_text().split()), default=0)


def _check(world: World, header: SegmentHeader, committed: int, *, ended: bool) -> None:
    results = world.results(world.out("out", "sent"))
    segments = {
        entry.digest: segment
        for one in results
        for entry, segment in zip(one.manifest.segments, one.segments, strict=True)
    }
    every = [a for one in segments.values() for a in one.attempts]
    sealed = Counter(a.job for a in every if a.fate is not Fate.LOST)
    lost = {a.job for a in every if a.fate is Fate.LOST}
    assert lost <= set(JOBS[committed:]) and not lost & set(sealed)
    assert set(sealed) >= set(range(committed)) and max(sealed.values(), default=1) == 1
    turns = [one.header.turn for one in segments.values()]
    assert len(set(turns)) == len(turns)
    offered = [ShardName.parse(path.stem) for path in world.out("claimable")]
    (work,) = works.ids(world.spool)
    if any(one.complete for one in segments.values()):
        assert not offered and works.ended(world.spool, work).complete
    else:
        assert not ended and len(offered) == 1
        (name,) = offered
        assert name is not None and name.turn > max(turns, default=0)
    assert not world.out("sealed")
    assert not list(world.spool.folder("claimed").glob("*/*-*"))  # no shard, no journal
    assert not [one for one in quarantine.every(world.spool) if "inside a record" not in one.text]
