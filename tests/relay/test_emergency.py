"""Seals that pilots laid elsewhere come home once, whatever became of the pilot meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bundle.spool.layout import ShardName
from relay.tick import tick
from tests.relay.test_salvage import dead_pilot
from tests.relay.world import World, make_world


@pytest.fixture
def away(tmp_path: Path) -> World:
    """A site that looks for seals in a folder of its own."""
    return make_world(tmp_path, config='[pilots]\ncount = 0\nemergency = "elsewhere"\n')


def test_an_emergency_seal_counts_in_place_of_the_journal(away: World) -> None:
    lease = away.lease(0, range(4))
    away.deliver(away.pack(lease))
    tick(away.home)
    pilot, header = dead_pilot(away)
    held = away.spool.held_shard(pilot.run, ShardName(lease.lease, 1)).read_bytes()
    journal, attempts = pilot.journal(header, [0, 1, 2])
    raw = journal.read_bytes()
    seal = pilot.seal(header, attempts, complete=False)
    elsewhere = away.home.folder / "elsewhere"
    elsewhere.mkdir()
    shutil.move(seal, elsewhere / seal.name)
    away.spool.held_shard(pilot.run, ShardName(lease.lease, 1)).write_bytes(held)
    journal.write_bytes(raw[:-40])  # the journal ends sooner than the seal
    ticked = tick(away.home)
    assert ticked.salvaged == 1 and not list(elsewhere.iterdir())
    found = away.results(away.out("out", "sent"))
    segments = [one for result in found for one in result.segments]
    assert [one.attempts for one in segments] == [tuple(attempts)]
    assert [path.stem for path in away.out("claimable")] == [str(ShardName(lease.lease, 2))]
    tick(away.home)
    assert len(away.results(away.out("out", "sent"))) == 1


def test_one_that_comes_after_its_journal_was_salvaged_is_kept_aside(away: World) -> None:
    lease = away.lease(0, range(4))
    away.deliver(away.pack(lease))
    tick(away.home)
    pilot, header = dead_pilot(away)
    name = away.spool.seal(pilot.name(header)).name
    pilot.journal(header, [0])
    tick(away.home)
    elsewhere = away.home.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / name).write_bytes(b"what the pilot sealed elsewhere")
    tick(away.home)
    assert not list(elsewhere.iterdir())
    assert len(away.results(away.out("out", "sent"))) == 1
    assert any(name in path.name for path in away.spool.folder("quarantine").iterdir())
