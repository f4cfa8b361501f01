"""The media drill: round trips over directories that lose a third, and all of it arrives."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.media.drill import Drill, trips_taken

pytestmark = pytest.mark.sweeps

WAVES = 6  # more work is asked for on so many of the first trips
TRIPS_MIN = 10
TRIPS_MAX = 5  # for any one bundle
PATIENCE = 40


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave files unsynced: here sticks fail, never the power, and waiting takes most of a trip."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


def drill(root: Path, seed: int) -> int:
    """Trip until all is done; return how many. With odd seeds many bundles go in parts."""
    made = Drill(root, seed, part_bytes=32_000 if seed % 2 else 1 << 30)
    try:
        while made.trips < TRIPS_MIN or not made.is_done():
            if made.trips < WAVES:
                made.submit()
            made.trip()
            assert made.trips < PATIENCE
        made.check_end()
        taken = trips_taken(made)
        assert max(taken) <= TRIPS_MAX, taken
        assert made.out.seen["lost"] + made.back.seen["lost"]
        assert bool(made.out.seen["part"]) == bool(seed % 2)
    finally:
        made.central.authority.close()
    return made.trips


@pytest.mark.programs
@pytest.mark.parametrize("seed", range(10))
def test_ten_round_trips_and_more_over_bad_directories_bring_everything(
    tmp_path: Path, seed: int
) -> None:
    assert drill(tmp_path, seed) >= TRIPS_MIN


@pytest.mark.campaign
@pytest.mark.parametrize("hundred", range(100))
def test_ten_thousand_round_trips(tmp_path: Path, hundred: int) -> None:
    trips = 0
    for seed in range(1000 + 10 * hundred, 1010 + 10 * hundred):
        trips += drill(tmp_path / str(seed), seed)
        shutil.rmtree(tmp_path / str(seed))
    assert trips >= 100
