"""A dataset through a real HTCondor pool by real relays and pilots, with and without shared files."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundle.dataset.spec import Command, Dataset, Input, Output, Step
from bundle.fates import Fate
from bundle.wire.manifest import Kind
from relay import pilot_folder
from relay.tick import tick
from tests.relay.world import Arrived, World, make_world
from tests.testbed import htcondor as htcondors

pytestmark = pytest.mark.programs

CONFIG = """
[pilots]
count = 4
slots = 1
idle_s = 3
{pilots}
[batch]
adapter = "htcondor"
exclusive = false
cpus = 1
memory_mib = 200
poll_s = 0
canary = false
signal_s = 10
{batch}
[tasks]
path = "/usr/bin:/bin"
"""
WAIT_S = 120.0


@pytest.fixture(autouse=True)
def reached(htcondor: htcondors.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in htcondor.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def unseen() -> Iterator[Path]:
    """A folder that no node of the pool sees."""
    folder = Path(tempfile.mkdtemp(prefix="pulk-relay-", dir="/var/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def carrying(folder: Path, shards: int = 1) -> World:
    """Make a world whose pilots get what they need by file transfer."""
    python = Path(sys.base_prefix) / "bin" / "python3"
    batch = f'shared_filesystem = false\nshards = {shards}\npython = "{python}"'
    world = make_world(folder, CONFIG.format(pilots='folder = "pilot"', batch=batch))
    pilot_folder.make(world.home.folder / "pilot")
    return world


def attempts(world: World) -> list[Arrived]:
    arrived = [world.read(path) for path in world.out("out", "sent")]
    return [one for one in arrived if one.manifest.kind is Kind.RESULT]


def succeeded(world: World) -> Counter[tuple[int, int]]:
    """How often each (job, step) came home as a success."""
    return Counter(
        (attempt.job, attempt.step)
        for one in attempts(world)
        for segment in one.segments
        for attempt in segment.attempts
        if attempt.fate is Fate.SUCCESS
    )


def until_done(
    world: World, tasks: int, meanwhile: Callable[[], None] = lambda: None
) -> Counter[tuple[int, int]]:
    deadline = time.monotonic() + WAIT_S
    while len(found := succeeded(world)) < tasks:
        assert time.monotonic() < deadline, (len(found), dict(world.home.adapter.survey()))
        tick(world.home)
        meanwhile()
        time.sleep(0.5)
    return found


def through(world: World, jobs: int, shards: int, script: str = "") -> None:
    argv = ("/bin/sh", "-c", f'{script}echo "$PULK_JOB" > out')
    world.dataset = Dataset("condor", jobs, 1, (Step("say", Command(argv), outputs=(Output("out"),)),))
    each = jobs // shards
    world.deliver(world.pack(*(world.lease(at, range(each * at, each * at + each)) for at in range(shards))))


def test_a_dataset_runs_to_its_end_where_nodes_see_nothing_of_the_relay(unseen: Path) -> None:
    world = carrying(unseen)
    through(world, 40, 4)
    found = until_done(world, 40)
    assert set(found.values()) == {1}
