"""SIGKILL of any process at a random moment never loses or doubles a result."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.loop.conftest import assert_sound, rehearse
from tests.loop.documents import diamond, write

pytestmark = pytest.mark.programs

TRIES = 20
CAMPAIGN_TRIES = 500
KILLS_PER_TRY = 2
FIRST_SEED = int(os.environ.get("PULK_SEED", time.time_ns() // 10**9 % 10**6))


@pytest.mark.parametrize("number", range(TRIES))
def test_random_kills_lose_nothing(tmp_path: Path, number: int) -> None:
    _try(tmp_path, FIRST_SEED + number)


@pytest.mark.campaign
@pytest.mark.parametrize("number", range(CAMPAIGN_TRIES))
def test_many_random_kills_lose_nothing(tmp_path: Path, number: int) -> None:
    _try(tmp_path, 10**6 + number)


def _try(folder: Path, seed: int) -> None:
    print(f"PULK_SEED={seed} replays the moments of these kills")
    summary = rehearse(
        write(folder / "d.json", diamond(5)),
        folder / "run",
        *("--kills", str(KILLS_PER_TRY), "--seed", str(seed), "--within", "3"),
    )
    assert_sound(summary)
