"""Seeded histories: restored from any backup, also twice and from the wrong one, nothing is lost.

Nothing counts twice, and the state is that of a central that was never restored.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.restores.history import History

SAMPLE = 48  # of `make test`, from a seed that rotates
CAMPAIGN = 1000
FIRST = int(os.environ.get("PULK_SEED", time.time_ns() // 10**9 % 10**6))


def play(folder: Path, other: Path, seed: int) -> dict[str, int]:
    disk, away = folder / str(seed), other / str(seed)
    disk.mkdir()
    away.mkdir()
    return History(disk, away, seed=seed, copies=1 if seed % 4 == 3 else 2).run()


@pytest.mark.sweeps
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(4))
def test_a_sample_of_histories_ends_as_if_nothing_had_happened(
    part: int, tmp_path: Path, other_device: Path
) -> None:
    print(f"PULK_SEED={FIRST}")
    total: dict[str, int] = {}
    for seed in range(FIRST + part, FIRST + SAMPLE, 4):
        for what, count in play(tmp_path, other_device, seed).items():
            total[what] = total.get(what, 0) + count
    assert total["restore"] > 5
    assert total["pilot"] > 20


@pytest.mark.campaign
@pytest.mark.parametrize("part", range(10))
def test_a_thousand_histories(part: int, tmp_path: Path, other_device: Path) -> None:
    happened: set[str] = set()
    for seed in range(10_000 + part, 10_000 + CAMPAIGN, 10):
        happened |= play(tmp_path, other_device, seed).keys()
    assert happened >= {"restore", "purge", "late", "crash", "enrol", "replay", "backup"}
