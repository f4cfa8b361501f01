"""Rebuilding from the archive: any order, any repetition, the same state hash."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bundle.dataset.spec import Dataset, Per
from bundle.fates import Fate
from bundle.intervals import IntervalSet
from central.core.facts import ControlWord
from central.rebuild import rebuild
from tests.central.conftest import Central, chain
from tests.central.scripted_site import Held, ScriptedSite


def eventful(central: Central) -> None:
    """Two sites, a failure, a lost task, an expired lease, rivals, a reset, a cancel."""
    north, south = central.site("north"), central.site("south")
    first = central.submit(chain(jobs=6))
    central.authority.absorb(north.report(1000))
    (held,) = [one for one in north.fetch(central.authority) if one.leases]
    central.clock.pass_hours(49)
    north.clock_us = south.clock_us = central.clock.now_us
    south.work_all(central.authority, salt="south")
    fates = {(0, 2): Fate.PAYLOAD_ERROR, (1, 3): Fate.LOST}
    played = [
        north.play(
            held,
            lease,
            fate=lambda place, tried: fates.get(place, Fate.SUCCESS) if not tried else Fate.SUCCESS,
        )
        for lease in held.leases
    ]
    central.authority.absorb(north.result(played))
    del north.works[held.id]
    second = central.submit(chain(jobs=3))
    north.work_all(central.authority, tasks_wanted=4)
    for dataset, word, jobs in (
        (first, ControlWord.RESET, IntervalSet.of([2, 3])),
        (second, ControlWord.CANCEL, IntervalSet.of([1])),
    ):
        key = f"{dataset} {word}"
        central.authority.control(dataset, word, jobs, (1,), idempotency_key=key, token_id=1)
    north.work_all(central.authority, salt="after the reset")


def test_ten_random_orders_with_repetitions_give_the_same_state(
    central: Central, tmp_path: Path
) -> None:
    eventful(central)
    live = central.fsck()
    assert live["bundles"]["commit"] > 3  # type: ignore[index]  # submissions, controls, pins
    for seed in range(10):
        home = replace(central.home, root=tmp_path / f"fresh-{seed}")
        made = rebuild(home, central.home.archive, central.home.trust, shuffle=seed, repeat=2)
        assert made["ok"], made["problems"]
        assert made["state_hash"] == live["state_hash"]
        assert made["done"] == live["done"]
        assert (made["attempts"], made["wall_ms"]) == (live["attempts"], live["wall_ms"])


def test_a_rebuilt_central_makes_nothing_of_its_own(central: Central, tmp_path: Path) -> None:
    eventful(central)
    home = replace(central.home, root=tmp_path / "fresh")
    rebuild(home, central.home.archive, central.home.trust, shuffle=3, repeat=1)
    mine = {path.name for path in central.home.archive.rglob("*.pulk")}
    assert {path.name for path in home.archive.rglob("*.pulk")} == mine


def test_what_is_out_again_after_a_reset_is_leased_whenever_the_reset_is_merged(
    central: Central, tmp_path: Path
) -> None:
    """Also where the lease of the new generation is read before the reset that begins it."""
    site = central.site("north")
    dataset = central.submit(chain(jobs=6, fan_in=False))
    site.work_all(central.authority)
    central.authority.control(
        dataset, ControlWord.RESET, IntervalSet.of([1, 2, 3]), (0,),
        idempotency_key="reset", token_id=1,
    )  # fmt: skip
    central.authority.absorb(site.report(1000))
    (held,) = [one for one in site.fetch(central.authority) if one.leases]
    part = [site.play(held, one, jobs=IntervalSet.of([1]), complete=False) for one in held.leases]
    central.authority.absorb(site.result(part))
    live = central.fsck()
    assert central.counts(dataset) == [{"done": 4, "leased": 2}] * 2
    for seed in range(12):
        home = replace(central.home, root=tmp_path / f"fresh-{seed}")
        made = rebuild(home, central.home.archive, central.home.trust, shuffle=seed, repeat=1)
        assert made["ok"], made["problems"]
        assert made["state_hash"] == live["state_hash"]


@pytest.mark.parametrize("per", [Per.JOB, Per.DATASET])
@pytest.mark.parametrize("salts", [("one", "other"), ("other", "one")])
def test_a_child_that_was_ready_only_while_the_archive_is_read_is_no_problem(
    central: Central, per: Per, salts: tuple[str, str]
) -> None:
    """Of two successes central pins the one that came first; a replay reads that after both."""
    north, south = central.site("north"), central.site("south")
    first = chain(jobs=1)
    last = replace(first.steps[2], per=per)
    dataset = central.submit(Dataset("late", 1, 1, (*first.steps[:2], last)))
    held = _leased(central, north)
    central.clock.pass_hours(49)
    again = _leased(central, south)
    for site, work, salt, steps in ((north, held, salts[0], 1), (south, again, salts[1], 2)):
        assert len(work.leases) == 1
        played = site.play(work, work.leases[0], salt=salt)
        kept = replace(played.segment, attempts=played.segment.attempts[:steps])
        central.authority.absorb(site.result([replace(played, segment=kept)]))
    assert central.counts(dataset) == [{"done": 1}, {"ready": 1}, {"held": 1}]
    central.fsck()


def _leased(central: Central, site: ScriptedSite) -> Held:
    """Let a site fetch two tasks."""
    central.authority.absorb(site.report(2))
    (held,) = [one for one in site.fetch(central.authority) if one.leases]
    return held
