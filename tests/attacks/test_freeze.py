"""Freezing: whoever carries bundles can withhold them. Against a real relay.

It cannot be prevented across an air gap. It is told by the site's own clock, shows by numbers
without any clock, limits what starts, and never what counts.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from relay import quarantine, state
from relay.accept import accept_all
from relay.doctor import examine
from relay.news import SILENT_AFTER_S
from relay.status import status
from relay.tick import tick
from tests.relay.world import World, make_world

DAY_S = 86_400


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


class Clock:
    """The site's clock, as far off as the test says."""

    def __init__(self) -> None:
        self.off_s = 0.0

    def time_ns(self) -> int:
        return time.time_ns() + int(self.off_s * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("relay.home.time", found)
    return found


def alarms(world: World) -> tuple[str, bool]:
    """What status says of central's silence, and whether doctor names a remedy."""
    said = status(world.home)["central"]["alarm"] or ""
    (finding,) = [one for one in examine(world.home) if one.name == "news from central"]
    assert said in finding.found or not said
    return said, bool(finding.remedy)


def test_indefinite_freeze_is_told_and_limits_starting_never_merging(
    world: World, clock: Clock
) -> None:
    old = world.pack(world.lease(0, [0], duration_ms=DAY_S * 1000), world.lease(1, [1]))
    world.deliver(old)
    tick(world.home)
    pilot = world.pilot()
    started = [header for _ in range(2) if (header := pilot.take()) is not None]
    assert len(started) == 2
    late = world.pack(world.lease(0, [2], duration_ms=DAY_S * 1000), world.lease(1, [3]))
    world.deliver(late)
    tick(world.home)
    assert alarms(world) == ("", False)
    clock.off_s = 30 * DAY_S  # a courier keeps all news for a month
    world.deliver(old)  # and brings what it brought before: that is no news
    tick(world.home)
    said, has_remedy = alarms(world)
    assert "30 days" in said
    assert has_remedy
    assert len(world.out("claimable")) == 1  # the one without a lifetime; the other starts no more
    for header in started:
        _, attempts = pilot.journal(header, pilot.jobs(header))
        pilot.seal(header, attempts)
    tick(world.home)
    made = world.results(world.out("out"))
    assert sum(len(one.segments) for one in made) == 2  # what was started travels home all the same
    world.deliver(world.pack(world.lease(0, [4])))
    tick(world.home)
    assert alarms(world) == ("", False)


def test_freeze_without_a_clock_shows_by_numbers_and_changes_no_verdict(
    world: World, clock: Clock
) -> None:
    """A clock a year back or ten ahead: order is by number, and a gap shows by number."""
    first, held_back, third = (world.pack(world.lease(0, [n])) for n in range(3))
    damaged = third.read_bytes()[:-1]
    for number, off_s in enumerate((-365 * DAY_S, 3650 * DAY_S, 0)):
        clock.off_s = off_s
        world.deliver((first, third, held_back)[number])
        (world.spool.folder("in") / f"damaged-{number}.pulk").write_bytes(damaged)
        done = accept_all(world.home)
        assert (done.bundles, done.refused) == (1, 1)
        gaps = status(world.home)["central"]["gaps"][world.stream.hex()]
        assert gaps == ([[1, 1]] if number == 1 else [])
    assert [one.code for one in quarantine.every(world.spool)] == ["truncated"] * 3
    clock.off_s = -365 * DAY_S
    assert "set back" in alarms(world)[0]


def test_silence_is_told_after_a_week_and_not_before(world: World, clock: Clock) -> None:
    world.deliver(world.pack())
    tick(world.home)
    for off_s, is_told in ((SILENT_AFTER_S - 60, False), (SILENT_AFTER_S + 1, True), (-60, True)):
        clock.off_s = off_s
        assert bool(alarms(world)[0]) is is_told
    shutil.rmtree(state.folder(world.spool))
    assert alarms(world) == ("", False)  # nothing was ever heard: there is nothing to miss
