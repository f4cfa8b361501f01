"""SIGKILL of central at every system call of what it does durably: told means kept, nothing twice.

Each call that changes a file or tells the database something is one point; a kill at it leaves the
calls before it done and it, with all after it, not.
"""

from __future__ import annotations

import random

import pytest

from tests.kills.acts import ACTS
from tests.kills.conftest import report
from tests.kills.plant import Place
from tests.kills.sweep import Point, Started, killed_at

pytestmark = pytest.mark.programs

SAMPLE = 5  # kills of each act in `make test`
ENOUGH = 500  # distinct points, of each engine


def engine_of(place: Place) -> str:
    return "sqlite" if place.server is None else "postgresql"


@pytest.mark.sweeps
@pytest.mark.parametrize("name", ACTS)
def test_a_sample_of_kills_loses_nothing_told_and_doubles_nothing(
    place: Place, name: str, draw: random.Random
) -> None:
    started = Started.at(place, name)
    points = started.points()
    for number in draw.sample(range(1, len(points) + 1), SAMPLE):
        assert killed_at(started, number) is not None or place.server is not None


@pytest.mark.campaign
def test_kills_at_every_system_call(place: Place) -> None:
    """On PostgreSQL two runs may differ by a few calls: an answer comes in one piece or two."""
    struck: list[Point] = []
    for name in ACTS:
        started = Started.at(place, name)
        for number in range(1, len(started.points()) + 1):
            point = killed_at(started, number)
            struck += [] if point is None else [point]
    report(engine_of(place), struck)
    assert len(set(struck)) >= ENOUGH
    assert {act for _, act, _ in struck} == set(ACTS)
