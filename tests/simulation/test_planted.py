"""The worlds can fail: every planted bug is found by one of a few of them."""

from __future__ import annotations

import os
import time

import pytest

from tests.simulation.planted import BUGS
from tests.simulation.planting import Bug, TargetGone
from tests.simulation.world import play

SEEDS = 25
PARTS = 5  # of the table: one a day
DAY = int(os.environ.get("PULK_SEED", time.time() // 86_400))


def fails(bug: Bug, seed: int, *, planted: bool) -> bool:
    """Play one world as the bug's plan says, with the bug or without it."""
    try:
        if not planted:
            play(seed, bug.planned)
            return False
        with bug.planted():
            play(seed, bug.planned)
    except TargetGone:
        raise
    except Exception:
        return True
    return False


def found_by(bug: Bug) -> int | None:
    """Return the first seed whose world fails with the bug in the program, and not without it."""
    for seed in range(SEEDS):
        if fails(bug, seed, planted=True) and not fails(bug, seed, planted=False):
            return seed
    return None


def test_there_are_thirty_of_them_under_names_of_their_own() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 30


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_what_a_bug_changes_is_there(bug: Bug) -> None:
    with bug.planted():
        pass


def test_a_bug_whose_target_is_gone_says_so() -> None:
    for bug in (
        Bug("gone", "central.absorb:nothing_of_that_name", make=lambda real: real),
        Bug("gone", "central.absorb:absorb", "no such text", ""),
    ):
        with pytest.raises(TargetGone), bug.planted():
            pass


@pytest.mark.sweeps
@pytest.mark.parametrize("bug", BUGS[DAY % PARTS :: PARTS], ids=lambda bug: bug.name)
def test_todays_planted_bugs_are_found(bug: Bug) -> None:
    assert found_by(bug) is not None, f"{SEEDS} worlds did not show it"


@pytest.mark.campaign
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_planted_bug_is_found(bug: Bug) -> None:
    assert found_by(bug) is not None, f"{SEEDS} worlds did not show it"
