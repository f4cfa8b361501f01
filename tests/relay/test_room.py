"""Room and time: quotas, the site's purge, bundles that keep failing."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bundle.ids import BundleId
from bundle.records import report as reports
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from relay import accept, quarantine, room
from relay.core import purge
from relay.core.purge import DAY_US, NEVER_US, Rules, outlook
from relay.doctor import examine
from relay.exchange import export_to
from relay.home import open_home
from relay.report import wanted as wanted_tasks
from relay.status import status
from relay.tick import tick
from tests.relay.world import World

NOW_US = 1_700_000_000_000_000


def configure(world: World, **keys: object) -> None:
    path = world.home.folder / "relay.toml"
    kept = [one for one in path.read_text().splitlines() if one.split(" ")[0] not in keys]
    kept.insert(kept.index("[spool]") + 1, "\n".join(f"{k} = {v}" for k, v in keys.items()))
    path.write_text("\n".join(kept) + "\n")
    world.home = open_home(world.home.folder)


def refused(world: World, medium: Path) -> list[str]:
    """Return the codes that the site's report on a medium tells central, signed."""
    medium.mkdir()
    export_to(world.home, medium)
    found = []
    for path in medium.glob("*.pulk"):
        kinds = frozenset({Kind.REPORT, Kind.RESULT, Kind.TELEMETRY})
        with open_bundle(path, world.trust(), audience="central", kinds=kinds) as bundle:
            for place in bundle.find("report"):
                found += [code for _, code in reports.decode(bundle.chunk(place)).refused]
    return found


def test_what_a_quota_has_no_room_for_is_refused_signed_and_taken_once_there_is(
    world: World, tmp_path: Path
) -> None:
    held = room.used(world.spool.root)
    configure(world, bytes_max=held.bytes + 600_000)
    content = os.urandom(400_000)
    path = world.pack(world.lease(0, [0]), data=[content])
    world.deliver(path)
    assert tick(world.home).refused == 1
    assert refused(world, tmp_path / "stick") == ["no-space"]
    tally, bundle = room.Tally(world.home), BundleId("ab" * 32)
    assert not accept.has_room(world.home, bundle, 300_000, tally)
    assert accept.has_room(world.home, bundle, 1000, tally)
    left = tally.room().bytes
    (world.spool.root / "later").write_bytes(bytes(5000))
    assert accept.has_room(world.home, bundle, 1000, tally)
    assert tally.room().bytes == left - 1000, "counted once, then what was let in is taken off"
    (world.spool.root / "later").unlink()
    configure(world, bytes_max=held.bytes + 4_000_000)
    assert tick(world.home).accepted == 1


def test_a_quota_of_inodes_counts_what_lies_in_the_spool(world: World, tmp_path: Path) -> None:
    configure(world, inodes_max=room.used(world.spool.root).inodes + 5)
    world.deliver(world.pack(world.lease(0, [0])))
    assert tick(world.home).refused == 1
    (tmp_path / "x").write_bytes(b"x" * 10_000)
    os.link(tmp_path / "x", tmp_path / "y")
    before = room.used(tmp_path)
    (tmp_path / "z").symlink_to("/")
    assert room.used(tmp_path).inodes == before.inodes + 1


def test_before_everything_is_purged_no_work_is_taken_that_cannot_be_back(world: World) -> None:
    at = datetime.now(UTC) + timedelta(hours=5)
    configure(world, purge_at=at.isoformat())
    assert purge_words(world).startswith("the site's purge comes")
    assert wanted(world) > 0
    path = world.home.folder / "relay.toml"
    path.write_text(path.read_text().replace("[site]\n", "[site]\nwalltime_hours = 4\n"))
    path.write_text(path.read_text().replace("[site]\n", "[site]\ntrip_hours = 2\n"))
    world.home = open_home(world.home.folder)
    assert wanted(world) == 0
    assert "no more work" in purge_words(world)
    assert any(f.name == "purge" and f.remedy for f in examine(world.home))


def wanted(world: World) -> int:
    return wanted_tasks(world.home, [])


def purge_words(world: World) -> str:
    return status(world.home)["purge"] or ""


def test_a_result_that_lies_too_long_is_told_before_the_purge_takes_it(world: World) -> None:
    configure(world, purge_after_days=30)
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    world.pilot().work_through()
    tick(world.home)
    assert purge_words(world) == ""
    for path in world.out("out", "sent"):
        old = time.time() - 28 * 86_400
        os.utime(path, (old, old))
    assert "1 bundles are not safe" in purge_words(world)


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 20), st.integers(0, 100))
def test_what_is_told_of_a_purge_follows_the_days(
    after: int, at: int, needs: int, age: int
) -> None:
    rules = Rules(after * DAY_US, NOW_US + at * DAY_US if at else 0, 3 * DAY_US, needs * DAY_US)
    found = outlook(rules, NOW_US - age * DAY_US if age else 0, NOW_US)
    ways = [at] if at else []
    ways += [after - age] if after and age else []
    expected = min(ways, default=None)
    assert found.goes_us == (NEVER_US if expected is None else NOW_US + expected * DAY_US)
    assert found.is_near == (expected is not None and expected <= 3)
    assert found.takes_work == ((not at or at > needs) and (not after or after > needs))


def test_a_purge_day_that_is_past_stops_nothing() -> None:
    past = Rules(at_us=NOW_US - 1, needs_us=DAY_US)
    assert outlook(past, 0, NOW_US) == purge.Outlook(NEVER_US, False, True)


def test_planted_copies_keep_the_right_bundle_away_for_hours_and_not_for_good(
    world: World,
) -> None:
    path = world.pack(world.lease(0, [0]))
    raw, bundle = path.read_bytes(), BundleId(path.stem)
    for number in range(3):
        broken = bytearray(raw)
        broken[-1 - number] ^= 1
        (world.spool.folder("in") / path.name).write_bytes(broken)
        assert tick(world.home).refused == 1
    assert accept.is_known(world.home, bundle)
    for reason in world.spool.folder("quarantine").glob("*.reason"):
        old = time.time() - quarantine.REST_S - 1
        os.utime(reason, (old, old))
    assert not accept.is_known(world.home, bundle)
    world.deliver(path)
    assert tick(world.home).accepted == 1


def test_the_same_bytes_again_and_again_are_kept_once_and_counted(world: World) -> None:
    path = world.pack(world.lease(0, [0]))
    broken = path.read_bytes()[:-1] + b"\0"
    for _ in range(3):
        assert not accept.is_known(world.home, BundleId(path.stem))
        (world.spool.folder("in") / path.name).write_bytes(broken)
        assert tick(world.home).refused == 1
    assert accept.is_known(world.home, BundleId(path.stem))
    kept = [one for one in world.out("quarantine") if one.suffix == ".pulk"]
    assert [one.name for one in kept] == [path.name]
    assert [one.code for one in quarantine.every(world.spool)] != []
