"""The relay with the real pilot: work in, pilots started, results out."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from bundle.dataset.spec import Command, Dataset, Output, Step
from bundle.fates import Fate
from bundle.records.seal import Claim, decode_claim
from bundle.spool.journal import read_journal
from bundle.wire.manifest import Kind
from relay.tick import tick
from tests.relay.world import Arrived, World, make_world

pytestmark = pytest.mark.programs

CONFIG = """
[pilots]
count = 1
slots = 2
idle_s = 0.3
[tasks]
path = "/usr/bin:/bin"
[task_environment]
GREETING = "hello"
"""
WAIT_S = 30.0


def test_a_shard_is_run_by_a_pilot_that_the_relay_started(tmp_path: Path) -> None:
    world = make_world(tmp_path, CONFIG)
    argv = ("/bin/sh", "-c", 'echo "$GREETING $PULK_JOB" > out')
    step = Step("greet", Command(argv), outputs=(Output("out"),))
    world.dataset = Dataset("greetings", 4, 1, (step,))
    world.deliver(world.pack(world.lease(0, [0, 1]), world.lease(1, [2, 3], needs=(0,))))
    found = until_attempts(world, 4)
    attempts = [a for one in found for s in one.segments for a in s.attempts]
    assert [(a.job, a.fate) for a in sorted(attempts, key=lambda a: a.job)] == [
        (job, Fate.SUCCESS) for job in range(4)
    ]
    said = {world.spool.data(file).read_bytes() for one in found for file in one.files}
    assert said == {f"hello {job}\n".encode() for job in range(4)}
    batches = {entry.batch_id for one in found for entry in one.manifest.segments}
    assert batches <= set(world.home.adapter.survey())

    everything = [world.read(path) for path in world.out("out", "sent")]
    world.deliver(world.pack(receipts=world.receipts(*everything)))
    deadline = time.monotonic() + WAIT_S
    while not tick(world.home).idle:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def until_attempts(world: World, count: int) -> list[Arrived]:
    deadline = time.monotonic() + WAIT_S
    while True:
        tick(world.home)
        arrived = [world.read(path) for path in world.out("out", "sent")]
        found = [one for one in arrived if one.manifest.kind is Kind.RESULT]
        if sum(len(s.attempts) for one in found for s in one.segments) >= count:
            return found
        assert time.monotonic() < deadline, list(world.spool.root.glob("pilots/*/log"))
        time.sleep(0.1)


def test_a_pilot_killed_in_the_middle_is_salvaged_and_another_ends_its_shard(
    tmp_path: Path,
) -> None:
    world = make_world(tmp_path, CONFIG.replace("slots = 2", "slots = 1"))
    ran = tmp_path / "ran"
    ran.mkdir()
    argv = ("/bin/sh", "-c", f'touch {ran}/$PULK_JOB-$$; sleep 0.2; echo "$PULK_JOB" > out')
    step = Step("slow", Command(argv), outputs=(Output("out"),))
    world.dataset = Dataset("slow", 4, 1, (step,))
    world.deliver(world.pack(world.lease(0, range(4))))
    tick(world.home)
    claim = until_journaled(world)
    os.kill(claim.pid, signal.SIGKILL)
    found = until_attempts(world, 4)
    segments = [s for one in found for s in one.segments]
    assert [s.salvaged_at is not None for s in segments].count(True) == 1
    jobs = [a.job for s in segments for a in s.attempts if a.fate is Fate.SUCCESS]
    assert sorted(jobs) == [0, 1, 2, 3]
    assert all(world.home.adapter.clear(one, "") for one in world.home.adapter.survey())


def until_journaled(world: World) -> Claim:
    """Wait until a pilot has an ended attempt in its journal; return its claim."""
    deadline = time.monotonic() + WAIT_S
    while True:
        for path in world.spool.folder("claimed").glob("*/*.journal"):
            if any(one["kind"] == "attempt" for one in read_journal(path).records):
                claim = path.parent / "claim"
                return decode_claim(claim.read_bytes(), where=str(claim))
        assert time.monotonic() < deadline
        time.sleep(0.02)
