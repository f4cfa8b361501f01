"""After a restore: what is leased, what is not, and when that ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.ids import BundleId, Epoch, SiteName
from bundle.records import head as heads
from bundle.records.head import Head, Named
from bundle.trust.keys import MemoryKey
from central.core.chain import Recovering, is_beyond, next_counter
from central.errors import UnknownSite
from tests.restores.world import Site, World

epochs = st.builds(Epoch, st.integers(1, 4), st.sampled_from([bytes(16), b"n" * 16]))


names = st.sampled_from(
    [None, Named(1, None), Named(1, BundleId("aa" * 32)), Named(2, BundleId("aa" * 32))]
)


@given(epochs, st.integers(0, 5), names, epochs, st.integers(0, 5), names)
def test_a_head_is_beyond_unless_it_can_be_of_this_centrals_past(
    theirs: Epoch, told: int, name: Named | None, mine: Epoch, known: int, own: Named | None
) -> None:
    beyond = is_beyond(Head(theirs, told, name), mine, known, own)
    if theirs == mine:
        assert beyond == (told > known or (name is not None and name != own))
    else:
        assert beyond == (theirs.counter >= mine.counter)


@given(epochs, st.integers(0, 5), names)
def test_a_head_is_read_as_it_was_signed_also_one_that_names_nothing(
    epoch: Epoch, commit: int, name: Named | None
) -> None:
    key = MemoryKey.generate()
    raw = heads.make(Head(epoch, commit, name), key)
    assert heads.read(raw, {key.public}) == heads.decode(raw) == Head(epoch, commit, name)


@given(st.integers(1, 2**40), st.integers(0, 2**60))
def test_a_new_epoch_comes_after_what_is_known_and_after_what_earlier_restores_began(
    known: int, now_us: int
) -> None:
    assert next_counter(known, now_us) > known
    assert next_counter(known, now_us) >= now_us // 1_000_000


@given(st.frozensets(st.sampled_from("abc")), st.integers(0, 10), st.integers(0, 10))
def test_what_came_after_the_restore_is_never_withheld(
    waiting: frozenset[str], submitted: int, now: int
) -> None:
    found = Recovering(5, 8, frozenset(map(SiteName, waiting)))
    withheld = found.withholds(submitted, now)
    assert withheld == (bool(waiting) and now < 8 and submitted <= 5)


@pytest.fixture
def world(tmp_path: Path, other_device: Path) -> World:
    return World(tmp_path, other_device, seed=2)


def at_work(world: World) -> tuple[Site, Site]:
    """Two sites; the backup knows neither's leases, north has run two shards since."""
    north, south = world.add_site("north"), world.add_site("south")
    world.submit(60)
    for site in (north, south):
        world.central.outbox(site.name)
    world.backup()
    for site in (north, south):
        world.tick(site)
        world.tick(site)
    world.run_pilot(north, 2)
    world.tick(north)
    return north, south


def leased(world: World) -> dict[str, int]:
    return {row["site"]: row["tasks_leased"] for row in world.central.sites()}


@pytest.mark.sweeps
def test_nothing_is_leased_twice_while_a_site_has_not_said_what_it_holds(world: World) -> None:
    north, south = at_work(world)
    before = leased(world)
    assert before["north"] > 0
    assert before["south"] > 0
    world.lose_central()
    assert set(world.restore().waiting) == {"north", "south"}
    for _ in range(4):
        world.tick(north)  # it resyncs: its leases are known again, and it wants more
    assert world.central.health()["recovering"]["waiting"] == ["south"]
    assert leased(world)["south"] == 0  # forgotten, and out
    assert leased(world)["north"] <= before["north"]  # nothing that south may hold
    for _ in range(4):
        world.tick(south)
    world.tick(north)
    assert world.central.health()["recovering"] is None
    assert leased(world)["south"] == before["south"]
    world.quiet()
    world.check()
    assert len(world.counted()) == 60  # each task ran once


@pytest.mark.sweeps
def test_a_dataset_that_came_after_the_restore_is_leased_at_once(world: World) -> None:
    north, south = at_work(world)
    world.lose_central()
    world.restore()
    fresh = world.submit(7)
    world.run_pilot(north, 1000)
    for _ in range(3):
        world.tick(north)
    counts = world.central.counts(fresh)["steps"][0]["counts"]
    assert counts == {"leased": 7}
    assert world.central.health()["recovering"]["waiting"] == ["south"]
    assert south.alive


@pytest.mark.sweeps
def test_a_lost_site_is_not_waited_for_after_somebody_said_so(world: World) -> None:
    north, south = at_work(world)
    world.lose_central()
    world.restore()
    for _ in range(3):
        world.tick(north)
    assert world.central.presume_lost(south.name) == 0
    assert world.central.health()["recovering"] is None or world.central.outbox(north.name)
    world.tick(north)
    assert world.central.health()["recovering"] is None
    with pytest.raises(UnknownSite):
        world.central.presume_lost(SiteName("nowhere"))
    south.alive = False
    world.quiet()
    world.check()


@pytest.mark.sweeps
def test_what_a_site_presumed_lost_brings_after_all_counts(world: World) -> None:
    _, south = at_work(world)
    world.run_pilot(south, 2)
    assert world.central.presume_lost(south.name) > 0
    assert leased(world)["south"] == 0
    world.tick(south)
    assert south.ledger <= set(world.counted())
    world.quiet()
    world.check()


@pytest.mark.sweeps
def test_the_longest_lease_ends_the_waiting(world: World) -> None:
    north, _ = at_work(world)
    world.lose_central()
    world.restore()
    for _ in range(3):
        world.tick(north)
    assert world.central.health()["recovering"]["waiting"] == ["south"]
    world.clock.pass_hours(49)
    world.tick(north)
    assert world.central.health()["recovering"] is None


@pytest.mark.sweeps
def test_a_site_that_the_backup_never_knew_is_waited_for_once_it_reports(world: World) -> None:
    north = world.add_site("north")
    world.submit(20)
    world.backup()
    late = world.add_site("late")
    for _ in range(3):
        world.tick(late)
    world.run_pilot(late, 1)
    world.lose_central()
    assert world.restore().waiting == ("north",)
    world.tick(late)  # its report, made before it heard of the restore
    assert set(world.central.health()["recovering"]["waiting"]) >= {"north", "late"}
    world.quiet()
    world.check()
    assert len(world.counted()) == 20
    assert north.alive
