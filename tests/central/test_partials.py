"""Uploads that broke off: what is kept, for how long, what a killed server leaves."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bundle.ids import BundleId, SiteName
from central.home import FOLDERS, Home, clear_uploads
from central.http.partials import KEPT_BYTES_MIN, KEPT_S, PER_SITE_MAX, Partials

NORTH, SOUTH = SiteName("north"), SiteName("south")
MOST = 20 * KEPT_BYTES_MIN


def bundle(number: int) -> BundleId:
    return BundleId(f"{number:064x}")


@pytest.fixture
def partials(tmp_path: Path) -> Partials:
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    return Partials(Home(tmp_path), MOST)


def broke_off(partials: Partials, site: SiteName, number: int, size: int) -> None:
    path = partials.begin(site, bundle(number), 0)
    assert path is not None
    path.write_bytes(bytes(size))
    partials.keep(site, bundle(number), path)


def test_what_is_worth_it_waits_for_the_rest_and_is_given_to_one_alone(partials: Partials) -> None:
    broke_off(partials, NORTH, 1, KEPT_BYTES_MIN - 1)
    assert partials.held(NORTH, bundle(1)) == 0
    broke_off(partials, NORTH, 1, KEPT_BYTES_MIN)
    assert partials.held(NORTH, bundle(1)) == KEPT_BYTES_MIN
    assert partials.held(SOUTH, bundle(1)) == 0
    assert partials.begin(NORTH, bundle(1), 5) is None
    assert partials.held(NORTH, bundle(1)) == KEPT_BYTES_MIN
    path = partials.begin(NORTH, bundle(1), KEPT_BYTES_MIN)
    assert path is not None
    assert path.stat().st_size == KEPT_BYTES_MIN
    assert partials.begin(NORTH, bundle(1), KEPT_BYTES_MIN) is None


def test_less_than_what_waits_replaces_nothing(partials: Partials) -> None:
    broke_off(partials, NORTH, 1, 3 * KEPT_BYTES_MIN)
    broke_off(partials, NORTH, 1, 2 * KEPT_BYTES_MIN)
    assert partials.held(NORTH, bundle(1)) == 3 * KEPT_BYTES_MIN
    assert not list(partials.home.uploads.iterdir())


def test_a_site_and_all_together_have_bounds_and_the_oldest_go(partials: Partials) -> None:
    for number in range(PER_SITE_MAX + 2):
        broke_off(partials, NORTH, number, KEPT_BYTES_MIN)
        age(partials, NORTH, number, 100 - number)
    held = [partials.held(NORTH, bundle(number)) > 0 for number in range(PER_SITE_MAX + 2)]
    assert held == [False] * 2 + [True] * PER_SITE_MAX
    broke_off(partials, SOUTH, 9, MOST - KEPT_BYTES_MIN)
    assert partials.held(SOUTH, bundle(9)) == MOST - KEPT_BYTES_MIN
    left = sum(partials.held(NORTH, bundle(number)) for number in range(PER_SITE_MAX + 2))
    assert left == KEPT_BYTES_MIN
    broke_off(partials, SOUTH, 8, MOST + 1)
    assert partials.held(SOUTH, bundle(8)) == 0


def test_what_is_old_goes(partials: Partials) -> None:
    broke_off(partials, NORTH, 1, KEPT_BYTES_MIN)
    age(partials, NORTH, 1, KEPT_S + 1)
    partials.sweep()
    assert partials.held(NORTH, bundle(1)) == 0


def test_what_a_killed_server_was_receiving_waits_too(partials: Partials) -> None:
    path = partials.begin(NORTH, bundle(1), 0)
    assert path is not None
    path.write_bytes(bytes(2 * KEPT_BYTES_MIN))
    (partials.home.uploads / "something else").write_bytes(b"x")
    partials.recover()
    assert partials.held(NORTH, bundle(1)) == 2 * KEPT_BYTES_MIN
    assert clear_uploads(partials.home) == 1


def test_where_nothing_is_to_be_kept_nothing_is(partials: Partials) -> None:
    none = Partials(partials.home, 0)
    broke_off(none, NORTH, 1, 2 * KEPT_BYTES_MIN)
    assert none.held(NORTH, bundle(1)) == 0


def age(partials: Partials, site: SiteName, number: int, seconds: float) -> None:
    at = time.time() - seconds
    os.utime(partials.home.partial / site / bundle(number), (at, at))
