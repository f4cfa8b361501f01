"""Somebody with a hundred tasks beside somebody with a million: from submission to merge."""

from __future__ import annotations

import os

from bundle.dataset import spec
from bundle.ids import DatasetId
from central.config import PlannerSection
from central.core.authorise import TOKEN_SCOPES
from tests.central.conftest import Central
from tests.central.scripted_site import ScriptedSite
from tests.planner.test_bundles import bring, configure, get, one, taken, tell

BUNDLE = 100  # tasks that the site takes at a time
ROUNDS_MAX = 20


def person(central: Central, name: str) -> str:
    """Add a user; return a token."""
    central.authority.save_user(name, role="user")
    return str(central.authority.make_token(name, name, TOKEN_SCOPES, None)["token"])


def submit(central: Central, token: str, name: str, jobs: int) -> DatasetId:
    """Submit as whoever the token is of: its owner is who is charged."""
    by = central.authority.who(token).principal
    key = os.urandom(8).hex()
    raw = spec.encode(one(name, jobs=jobs))
    return central.authority.submit(raw, idempotency_key=key, token_id=by.no, by=by).id


def rounds_until_done(central: Central, site: ScriptedSite, dataset: DatasetId, jobs: int) -> int:
    """Let the site work bundle by bundle; return how many it took until a dataset was done."""
    for number in range(1, ROUNDS_MAX + 1):
        tell(central, site, BUNDLE)
        held = get(central, site)
        assert sum(taken(held).values()) == BUNDLE or number > 1  # nobody's share lies idle
        for each in held:
            bring(central, site, each)
        if central.counts(dataset)[0].get("done") == jobs:
            return number
    raise AssertionError(f"after {ROUNDS_MAX} bundles: {central.counts(dataset)}")


def test_a_hundred_tasks_are_done_as_soon_beside_a_million_as_beside_their_like(
    central: Central,
) -> None:
    configure(central, planner=PlannerSection(shard_tasks_max=10))
    site = central.site()
    many, few, other = (person(central, name) for name in ("many", "few", "other"))
    huge = submit(central, many, "huge", 1_000_000)
    for _ in range(5):  # the site is full of it, and its results have come home
        tell(central, site, BUNDLE)
        for held in get(central, site):
            bring(central, site, held)
    assert central.counts(huge)[0]["done"] == 5 * BUNDLE

    small = submit(central, few, "small", 100)
    beside_a_million = rounds_until_done(central, site, small, 100)
    # Who was never served goes first, as far as a share of one half is behind.
    assert beside_a_million <= 2
    assert central.counts(huge)[0]["done"] >= 5 * BUNDLE

    like = submit(central, other, "like", 100)
    assert rounds_until_done(central, site, like, 100) == beside_a_million
    before = central.counts(huge)[0]["done"]
    tell(central, site, BUNDLE)
    for held in get(central, site):
        bring(central, site, held)
    assert central.counts(huge)[0]["done"] == before + BUNDLE  # nobody else wants it: all of it
    central.fsck()
