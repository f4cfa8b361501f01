"""10,000 pilots on one relay: over ZeroMQ and over the spool.

The relay's side is the real process of the radio, and real ticks; the pilots are the pilot's own
code without tasks (`benchmarks/radio_pilots.py`), in processes of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.table import Row, below
from bundle.ids import BundleId, LeaseId
from bundle.spool import shard as shards
from bundle.spool.shard import ShardFile
from relay.home import Home
from relay.page import JSON
from relay.radio import look
from relay.radio.child import command
from relay.tick import tick
from tests.relay.world import make_world

PILOTS = 10_000
PROCESSES = 4
HOLD_S = 1e6  # that each keeps its shard
TASKS = 16  # that each pilot tells of, every second
STEADY_S = 20.0
LIMIT_S = 400.0


def measure(pilots: int = PILOTS) -> list[Row]:
    """Return the rows."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        return [
            *_over_zeromq(Path(folder) / "radio", pilots),
            *_over_the_spool(Path(folder) / "spool", pilots),
        ]


def _home(root: Path, listen: str) -> Home:
    root.mkdir()
    config = f'[radio]\nlisten = "{listen}"\n[pilots]\ncount = 0\n'
    return make_world(root, config).home


def _offer(home: Home, count: int) -> None:
    """Put shards on offer that no bundle holds: claiming one needs its file alone."""
    bundle = BundleId("0" * 64)
    for number in range(count):
        one = ShardFile(LeaseId(os.urandom(16)), 1, bundle, number, 0)
        home.spool.claimable(one.name).write_bytes(shards.encode(one))


@contextmanager
def _pilots(home: Home, many: int, radio: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start all pilots in some processes; they are killed at the end."""
    each = many // PROCESSES
    told = (str(home.spool.root), home.site, str(each), str(TASKS), str(HOLD_S), radio)
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.radio_pilots", *told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # as nodes are: none of them waits for the others' time
        )
        for _ in range(PROCESSES)
    ]
    try:
        for one in started:
            assert one.stdout is not None
            assert one.stdout.readline() == b"there\n"
        yield started
    finally:
        for one in started:
            if one.poll() is None:
                one.kill()
            one.wait()


def _ended(pilots: list[subprocess.Popen[bytes]]) -> list[dict[str, float]]:
    said = []
    for one in pilots:
        assert one.stdin is not None
        one.stdin.close()
    for one in pilots:
        assert one.stdout is not None
        said.append(json.loads(one.stdout.readline()))
    return said


def _wait(until: float, what: str) -> None:
    assert time.monotonic() < until, f"waited too long for {what}"
    time.sleep(0.25)


def _over_zeromq(root: Path, pilots: int) -> list[Row]:
    home = _home(root, "tcp://127.0.0.1:*")
    began_s = time.monotonic()
    until_s = began_s + LIMIT_S
    station = subprocess.Popen(
        command(home.folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        with _pilots(home, pilots, "radio") as nodes:
            there_s = time.monotonic()
            while (live := look.look(home, 30.0)) is None or len(live.pilots or ()) < pilots:
                _wait(until_s, "the pilots to be heard")
            heard_s = time.monotonic() - there_s
            process = psutil.Process(station.pid)
            idle_share = _cpu_share(process)
            _offer(home, pilots)
            assert station.stdin is not None
            station.stdin.write(b".")
            station.stdin.flush()
            while any(home.spool.folder("claimable").iterdir()):
                _wait(until_s, "the shards to be claimed")
            busy_share = _cpu_share(process)
            asked_s = time.monotonic()
            live = look.look(home, 30.0)
            asked_s = time.monotonic() - asked_s
            assert live is not None
            assert live.pilots is not None
            tasks = sum(len(state.tasks) for _, state in live.pilots if state is not None)
            oldest_s = max(seen.state_ms for seen, _ in live.pilots) / 1000
            memory = process.memory_info().rss
            said = _ended(nodes)
    finally:
        station.kill()
        station.wait()
    assert sum(one["claimed"] for one in said) == pilots
    took_s = max(one["last_s"] for one in said) - min(one["first_s"] for one in said)
    what = f"{pilots:,} pilots over ZeroMQ"
    return [
        Row("radio", f"{what}: all heard after", heard_s, "s"),
        Row(
            "radio", f"{what}, idle: relay's CPU a pilot a second", idle_share / pilots * 1e6, "us"
        ),
        Row(
            "radio",
            f"{what}, each telling {TASKS} tasks: relay's CPU a pilot a second",
            busy_share / pilots * 1e6,
            "us",
        ),
        Row("radio", f"{what}, the same: of one core", 100 * busy_share, "%"),
        Row("radio", f"{what}: shards claimed", pilots / took_s, "shards/s"),
        Row("radio", f"{what}: relay's memory", memory / 2**20, "MiB"),
        Row("radio", f"{what}: memory a pilot", memory / pilots / 1024, "KiB"),
        Row("radio", f"{what}: status of {tasks:,} tasks, the oldest told before", oldest_s, "s"),
        Row("radio", f"{what}: the status's answer", asked_s, "s"),
    ]


def _cpu_share(process: psutil.Process) -> float:
    """Return how much of one core a process takes, over some seconds."""
    before, began_s = process.cpu_times(), time.monotonic()
    time.sleep(STEADY_S)
    after, took_s = process.cpu_times(), time.monotonic() - began_s
    return (after.user + after.system - before.user - before.system) / took_s


def _over_the_spool(root: Path, pilots: int) -> list[Row]:
    home = _home(root, "")
    until_s = time.monotonic() + LIMIT_S
    with _pilots(home, pilots, "spool") as nodes:
        first_s = _tick_s(home)
        idle_s = min(_tick_s(home) for _ in range(3))
        _offer(home, pilots)
        offers_s = min(_tick_s(home) for _ in range(2))
        while any(home.spool.folder("claimable").iterdir()):
            _wait(until_s, "the shards to be claimed")
        busy_s = min(_tick_s(home) for _ in range(3))
        page_s = min(_tick_s(home, page=True) for _ in range(3))
        files = sum(len(found) for _, _, found in os.walk(home.spool.root))
        said = _ended(nodes)
    assert sum(one["claimed"] for one in said) == pilots
    took_s = max(one["last_s"] for one in said) - min(one["first_s"] for one in said)
    each_us = busy_s / 60 / pilots * 1e6
    pilot_ms = 1e3 * sum(one["cpu_s"] for one in said) / pilots
    what = f"{pilots:,} pilots over the spool"
    return [
        below("radio", f"{what}: a tick with nothing to do", idle_s, "s CPU", 0.5),
        below("radio", f"{what}: the same, each holding a shard", busy_s, "s CPU", 0.5),
        below("radio", f"{what}: the same, and the status page is due", page_s, "s CPU", 0.5),
        Row("radio", f"{what}: the first tick that sees them", first_s, "s CPU"),
        Row("radio", f"{what}: a tick while shards are on offer", offers_s, "s CPU"),
        Row("radio", f"{what}: a tick a minute, relay's CPU a pilot a second", each_us, "us"),
        Row("radio", f"{what}: shards claimed", pilots / took_s, "shards/s"),
        Row("radio", f"{what}: a pilot's CPU until it has its shard", pilot_ms, "ms"),
        Row("radio", f"{what}: files in the spool, of each pilot", files / pilots, "files"),
    ]  # fmt: skip


def _tick_s(home: Home, *, page: bool = False) -> float:
    if page:
        (home.folder / home.config.status.folder / JSON).unlink(missing_ok=True)
    began_s = time.process_time()
    tick(home)
    return time.process_time() - began_s
