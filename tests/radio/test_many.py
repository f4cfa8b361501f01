"""Very many pilots at one relay, without anything growing with their square."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bundle.ids import BundleId, LeaseId, PilotRun
from bundle.spool import shard as shards
from bundle.spool.shard import ShardFile
from relay import roster, state
from relay.home import Home
from relay.radio import look
from relay.tick import tick
from site_adapters.contract import PilotView
from site_adapters.local import LocalAdapter
from tests.radio.running import ROOT, claim_in, station, until
from tests.relay.world import World, make_world

IPC = '[radio]\nlisten = "ipc"\n[pilots]\ncount = 0\n'
PILOTS = 300


@contextmanager
def simulated(world: World, radio: str) -> Iterator[subprocess.Popen[bytes]]:
    told = (str(world.spool.root), "north", str(PILOTS), "2", "1e6", radio)
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.radio_pilots", *told],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.mark.programs
@pytest.mark.parametrize("radio", ["radio", "spool"])
def test_hundreds_of_pilots_each_take_one_of_as_many_shards(tmp_path: Path, radio: str) -> None:
    world = make_world(tmp_path, IPC)
    bundle = BundleId("0" * 64)
    offered = [ShardFile(LeaseId(os.urandom(16)), 1, bundle, n, 0) for n in range(PILOTS)]
    with station(world) as process, simulated(world, radio) as pilots:

        def heard() -> int:
            live = look.look(world.home)
            return len(live.pilots or ()) if live is not None else 0

        if radio == "radio":
            until("all to be heard", lambda: heard() == PILOTS)
        for one in offered:
            world.spool.claimable(one.name).write_bytes(shards.encode(one))
        assert process.stdin is not None
        process.stdin.write(b".")
        process.stdin.flush()
        until("all to be claimed", lambda: not list(world.spool.folder("claimable").iterdir()))
        if radio == "radio":
            live = until("all to tell", lambda: _telling(world.home))
            assert sum(len(tasks) for tasks in live) == 2 * PILOTS
        assert pilots.stdin is not None
        assert pilots.stdout is not None
        pilots.stdin.close()
        said = json.loads(pilots.stdout.readline())
    assert said["claimed"] == PILOTS
    held = [list(path.glob("*.shard")) for path in world.spool.folder("claimed").iterdir()]
    assert [len(one) for one in held] == [1] * PILOTS


def _telling(home: Home) -> list[tuple[object, ...]] | None:
    live = look.look(home)
    states = [now for _, now in (live.pilots or ()) if now is not None] if live else []
    return [now.tasks for now in states] if sum(bool(s.tasks) for s in states) == PILOTS else None


@dataclass(slots=True)
class Counting:
    """Every claim file that is opened while it counts."""

    opened: list[str] = field(default_factory=list)
    counts: bool = False

    def hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.counts and event == "open" and str(arguments[0]).endswith("/claim"):
            self.opened.append(str(arguments[0]))


COUNTING = Counting()
sys.addaudithook(COUNTING.hook)


class Surveyed(LocalAdapter):
    """An adapter that counts how often the site is looked at."""

    surveys = 0

    def survey(self) -> Mapping[str, PilotView]:
        self.surveys += 1
        return super().survey()


def test_a_tick_with_nothing_to_do_reads_no_claim_twice_and_asks_the_scheduler_once(
    world: World,
) -> None:
    adapter = Surveyed(world.root / "pilots")
    home = replace(world.home, adapter=adapter)
    runs = [claim_in(world.spool, b"") for _ in range(200)]
    tick(home)
    adapter.surveys, COUNTING.counts = 0, True
    try:
        tick(home)
        assert COUNTING.opened == []
        claim_in(world.spool, b"")
        tick(home)
        assert len(COUNTING.opened) == 1
    finally:
        COUNTING.counts = False
        COUNTING.opened.clear()
    assert adapter.surveys == 2
    assert set(runs) < set(roster.read(world.spool).claims)


def test_a_roster_that_is_lost_or_damaged_is_made_anew(world: World) -> None:
    runs = {claim_in(world.spool, b"") for _ in range(3)}
    first = roster.read(world.spool)
    assert set(first.claims) == runs
    kept = state.folder(world.spool) / "roster"
    raw = kept.read_bytes()
    assert roster.read(world.spool) == first
    for damaged in (raw[:-1], raw + b"\0", b"", raw.replace(b"elsewhere", b"else\nhere")):
        kept.write_bytes(damaged)
        assert set(roster.read(world.spool).claims) == runs
    kept.unlink()
    assert set(roster.read(world.spool).claims) == runs


def test_a_pilot_without_a_claim_yet_is_forlorn_and_one_that_left_is_forgotten(
    world: World,
) -> None:
    run = claim_in(world.spool, b"")
    assert set(roster.read(world.spool).claims) == {run}
    early = PilotRun(b"early 88")
    world.spool.claimed(early).mkdir()
    (world.spool.claim(run)).unlink()
    world.spool.claimed(run).rmdir()
    found = roster.read(world.spool)
    assert (set(found.claims), found.forlorn) == (set(), (early,))
