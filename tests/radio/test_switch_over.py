"""Pilots and relays that come to hear each other, and stop to, in the middle of work."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from bundle.dataset.spec import Command, Dataset, Output, Step
from bundle.fates import Fate
from bundle.wire.manifest import Kind
from relay.tick import tick
from tests.radio.running import PROGRAM, Daemon, address, status, until
from tests.relay.world import Arrived, World, make_world

pytestmark = pytest.mark.programs

CONFIG = """
[radio]
listen = "ipc"
[pilots]
count = 2
slots = 2
idle_s = {idle_s}
[tasks]
path = "/usr/bin:/bin"
isolation = "plain"
"""


def ledger_world(root: Path, jobs: int, task_s: float, idle_s: float = 20.0) -> World:
    """A site whose tasks append their job to a ledger outside the programs."""
    world = make_world(root, CONFIG.format(idle_s=idle_s))
    code = f'sleep {task_s}; echo "$PULK_JOB" >> {root}/ledger; echo "$PULK_JOB" > out'
    step = Step(
        "note", Command(("/bin/sh", "-c", code.replace("$", "$$"))), outputs=(Output("out"),)
    )
    world.dataset = Dataset("noted", jobs, 1, (step,))
    return world


def arrived(world: World) -> list[Arrived]:
    """Return every result bundle that the site made."""
    read = (world.read(path) for path in world.out("out", "sent"))
    return [one for one in read if one.manifest.kind is Kind.RESULT]


def successes(world: World) -> Counter[int]:
    return Counter(
        attempt.job
        for one in arrived(world)
        for segment in one.segments
        for attempt in segment.attempts
        if attempt.fate is Fate.SUCCESS
    )


def assert_nothing_lost_or_double(world: World, root: Path, jobs: int) -> None:
    """Every job succeeded once, and each noted run is one that counts."""
    assert successes(world) == Counter(range(jobs))
    ran = Counter(map(int, (root / "ledger").read_text().split()))
    assert ran == Counter(range(jobs))


@pytest.mark.timeout(240)
def test_a_relay_killed_and_started_anew_in_the_middle_loses_nothing_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    jobs = 240
    world = ledger_world(tmp_path, jobs, 0.2)
    leases = [world.lease(n, range(4 * n, 4 * n + 4)) for n in range(jobs // 4)]
    world.deliver(world.pack(*leases))
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)
    chance = random.Random(seed)
    daemon = Daemon(world, 2.0)
    deadline = time.monotonic() + 200
    starts = heard = 0
    while sum(successes(world).values()) < jobs:
        assert time.monotonic() < deadline, status(world)
        daemon.start()
        starts += 1
        time.sleep(chance.uniform(3.0, 9.0))
        now = status(world)
        heard += bool(now["radio"] and now["radio"]["pilots"])
        if chance.random() < 0.6:
            daemon.kill()
        else:
            assert daemon.stop() == 0
        if chance.random() < 0.5:  # nobody is there for a while, or a tick from cron
            time.sleep(chance.uniform(0.0, 4.0))
        else:
            tick(world.home)
    assert_nothing_lost_or_double(world, tmp_path, jobs)
    assert heard, f"no pilot was heard in {starts} starts"


def test_pilots_that_began_by_the_spool_alone_hear_a_relay_that_starts_later(
    tmp_path: Path,
) -> None:
    world = ledger_world(tmp_path, 16, 1.0)
    world.deliver(world.pack(*(world.lease(n, [2 * n, 2 * n + 1]) for n in range(8))))
    tick(world.home)  # starts the pilots; nobody listens
    until("a task", (tmp_path / "ledger").exists)
    assert status(world)["running"] is None
    daemon = Daemon(world, 2.0)
    daemon.start()
    until("pilots to be heard", lambda: (status(world)["radio"] or {}).get("pilots") == 2)
    daemon.kill()  # and they go on without
    until("the rest", lambda: len((tmp_path / "ledger").read_text().split()) == 16)
    until("results", lambda: tick(world.home) and sum(successes(world).values()) == 16)
    assert_nothing_lost_or_double(world, tmp_path, 16)


def test_a_relay_that_stands_still_holds_nobody_up(tmp_path: Path) -> None:
    world = ledger_world(tmp_path, 8, 0.1, idle_s=60.0)
    world.deliver(world.pack(world.lease(0, [0, 1])))
    daemon = Daemon(world, 600.0)  # whose radio is stopped as if the network were gone
    daemon.start()
    try:
        until("results", lambda: len(list(world.spool.folder("sealed").iterdir())) == 1)
        until("pilots to be heard", lambda: (status(world)["radio"] or {}).get("pilots"))
        (radio,) = daemon.children()
        os.kill(radio, signal.SIGSTOP)
        world.deliver(world.pack(*(world.lease(n, [2 * n, 2 * n + 1]) for n in range(1, 4))))
        tick(world.home)
        until("the rest", lambda: len((tmp_path / "ledger").read_text().split()) == 8)
        os.kill(radio, signal.SIGCONT)
        until("pilots to be heard", lambda: (status(world)["radio"] or {}).get("pilots"))
    finally:
        daemon.kill()
    until("results", lambda: tick(world.home) and sum(successes(world).values()) == 8)
    assert_nothing_lost_or_double(world, tmp_path, 8)


def test_the_status_tells_what_runs_as_it_was_seconds_ago(tmp_path: Path) -> None:
    world = make_world(tmp_path, CONFIG.format(idle_s=20))
    code = "a = bytearray(60 << 20)\nwhile True: pass"
    world.dataset = Dataset(
        "busy", 1, 1, (Step("spin", Command(("/usr/bin/python3", "-c", code))),)
    )
    world.deliver(world.pack(world.lease(0, [0], returns=())))
    daemon = Daemon(world, 2.0)
    daemon.start()
    try:

        def seen() -> object:
            rows = status(world)["running"] or []
            return rows if rows and rows[0]["memory_mib"] > 50 and rows[0]["cpu"] > 0.02 else None

        (row,) = until("figures", seen)
        assert row["task"] == f"{world.dataset_id}/0/0"
        assert row["age_s"] > 0
        first = row["age_s"]
        (later,) = until(
            "an older age", lambda: [r for r in status(world)["running"] if r["age_s"] > first]
        )
        assert later["told_s"] < 10
        world.spool.tombstones.write_text(f"{world.dataset_id}\n")
        until("an end", lambda: status(world)["running"] == [])
    finally:
        daemon.kill()


@pytest.mark.parametrize("word", ["deleted", "called off"])
@pytest.mark.parametrize("listens", [True, False], ids=["radio", "spool"])
def test_what_nobody_wants_any_more_ends_at_the_pilot_within_seconds(
    tmp_path: Path, listens: bool, word: str
) -> None:
    text = CONFIG.format(idle_s=20)
    world = make_world(tmp_path, text if listens else text.replace('"ipc"', '""'))
    sleep = Command(("/bin/sleep", "600"))
    world.dataset = Dataset("long", 1, 1, (Step("sleep", sleep),))
    lease = world.lease(0, [0], returns=())
    world.deliver(world.pack(lease))
    daemon = Daemon(world, 1.0)
    daemon.start()
    try:
        shard = "claimed/*/*.journal"
        until("the task to run", lambda: list(world.spool.root.glob(shard)))
        if listens:
            until("it to be heard", lambda: status(world)["running"])
        gone = {"tombstones": (world.dataset_id,)}
        off = {"called_off": (lease.lease,)}
        world.deliver(world.pack(**(gone if word == "deleted" else off)))
        found = until(
            "its end",
            lambda: [a for one in arrived(world) for s in one.segments for a in s.attempts],
        )
        assert [attempt.fate for attempt in found] == [Fate.CANCELLED]
    finally:
        daemon.kill()


def test_a_pilot_without_pyzmq_goes_by_the_spool(tmp_path: Path) -> None:
    world = ledger_world(tmp_path, 2, 0.1, idle_s=3.0)
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "zmq.py").write_text("raise ImportError('there is no pyzmq')\n")
    start = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from bundle.cli.main import main; main()"
    )
    told = ["python3", "-c", start, str(blocked), "pilot", "run", "--spool", str(world.spool.root)]
    told += ["--batch-id", "{batch_id}", "--slots", "1", "--idle-s", "3"]
    program = ", ".join(f'"{word}"' for word in [PROGRAM[0], *told[1:]])
    config = world.home.folder / "relay.toml"
    config.write_text(config.read_text().replace("count = 2", f"count = 1\ncommand = [{program}]"))
    world.deliver(world.pack(world.lease(0, [0, 1])))
    daemon = Daemon(world, 1.0)
    daemon.start()
    try:
        until("an address", lambda: address(world))
        until("results", lambda: sum(successes(world).values()) == 2)
        logs = world.home.folder.glob
        until("a word", lambda: any("pyzmq" in one.read_text() for one in logs("pilots/*/log")))
    finally:
        daemon.kill()
