"""What a pilot's recorder writes while its disk lets it wait."""

from __future__ import annotations

import os
import platform
import threading
from pathlib import Path

import pytest

from bundle.spool.journal import read_journal
from bundle.spool.layout import ShardName
from bundle.spool.records import Begun, read_records
from bundle.spool.shard import ShardFile
from pilot.recorder import Group, Recorder, Started
from relay.tick import tick
from tests.relay.world import make_world


def test_what_begins_is_in_the_journal_although_the_disk_lets_the_recorder_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a task that takes its pilot down at once leaves no trace, and its neighbours do."""
    world = make_world(tmp_path)
    world.deliver(world.pack(world.lease(0, range(3))))
    tick(world.home)
    pilot = world.pilot(host=platform.node(), boot_id="an earlier boot")
    header = pilot.take()
    assert header is not None
    held = ShardFile(header.lease, header.turn, header.work, header.shard, 0)
    one = Recorder(world.spool, pilot.key, pilot.batch_id, lambda: None)
    attempt = pilot._attempt(0, 0)
    waits, go_on, real = threading.Event(), threading.Event(), os.fsync

    def slow(descriptor: int) -> None:
        waits.set()
        assert go_on.wait(60)
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", slow)
        one.open(1, header, held)
        one.begin(Started({1: [Begun(0, 0, 0, 0, 0, 1, 1)]}))
        one.record(Group([(1, attempt, b"")]))
        assert waits.wait(60)
        one.begin(Started({1: [Begun(1, 1, 0, 0, 1, 1, 1)]}))
        path = world.spool.journal(header.pilot_run, ShardName(header.lease, header.turn))
        found = read_records(read_journal(path).records)
        go_on.set()
        one.seal(1, complete=False)
        one.close()
    assert found.header == header
    assert [begun.local for begun in found.open] == [0, 1]
