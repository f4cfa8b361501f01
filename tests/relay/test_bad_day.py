"""Bad days of a relay: keys revoked under its hands, damaged copies, whatever the order."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.ids import BundleId
from bundle.spool.publish import write_file
from bundle.trust import draft, trust_file, versions
from bundle.trust.keys import KeyFile, MemoryKey
from bundle.trust.revocation import Revocation
from bundle.trust.trust_file import Trust
from relay import accept, delta, offer, quarantine, state, works
from tests.relay.test_delta import said, thinned
from tests.relay.world import World

NOISE = os.urandom(20_000)


def signed(world: World, after: Trust) -> Trust:
    """The version as the root signs it."""
    return trust_file.verify(trust_file.encode(after, [world.authority.root]))


def revoking(world: World, key: bytes) -> Trust:
    """The version after the first, in which a central key is revoked and a fresh one published."""
    fresh = MemoryKey.generate().public
    return signed(world, draft.revoked(world.authority.trust, [Revocation(key)], [fresh]))


def by(world: World, key: KeyFile) -> World:
    """The same world, central signing with another key."""
    return replace(world, authority=replace(world.authority, central=key), sequence=50)


def chain(*files: Trust) -> bytes:
    return trust_file.encode_chain([one.raw for one in files])


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_news_of_a_theft_on_the_same_stick_come_before_what_the_thief_signed(
    world: World, names: tuple[str, str]
) -> None:
    stolen, following = world.authority.central, world.authority.central_next
    second = revoking(world, stolen.public)
    forged = world.pack(world.lease(0, [0]))
    honest = by(world, following).pack(trust=chain(world.authority.trust, second))
    for name, path in zip(names, (forged, honest), strict=True):
        shutil.copy(path, world.spool.folder("in") / f"{name}.pulk")
    taken = accept.accept_all(world.home)
    assert (taken.bundles, taken.refused) == (1, 1)
    assert not works.ids(world.spool)
    assert world.home.trust().version == 2


def test_a_trust_version_taken_by_hand_frees_what_waited_for_it(world: World) -> None:
    fresh = replace(world.authority.central, key=MemoryKey.generate())
    second = signed(world, draft.rotated(world.authority.trust, [fresh.public]))
    path = by(world, fresh).pack(world.lease(0, [0]))
    world.deliver(path)
    assert accept.accept_all(world.home).refused == 1
    versions.take(world.spool.trust, [second.raw])  # `pulk keys take RELAY`, or before a crash
    assert accept.accept_all(world.home).bundles == 1
    assert works.ids(world.spool) == [path.stem]
    assert not list(world.spool.folder("quarantine").iterdir())


def test_a_tick_does_not_bring_an_older_version_back_than_another_process_took(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.authority.trust
    second = signed(world, draft.rotated(first, [MemoryKey.generate().public]))
    third = signed(world, draft.rotated(second, [MemoryKey.generate().public]))
    real = trust_file.advance

    def slow(current: Trust, raw: bytes, *, where: str = "") -> Trust:
        found = real(current, raw, where=where)
        if trust_file.load(world.spool.trust).version == 1:
            write_file(world.home.tmp, world.spool.trust, third.raw)
        return found

    monkeypatch.setattr(trust_file, "advance", slow)
    world.deliver(world.pack(trust=chain(first, second)))
    accept.accept_all(world.home)
    assert world.home.trust().version == 3


def test_a_damaged_file_is_replaced_by_the_whole_one_that_comes(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0]), data=[NOISE]))
    accept.accept_all(world.home)
    (file,) = works.live(world.spool)[0].data
    path = world.spool.data(file)
    path.chmod(0o600)
    path.write_bytes(bytes(len(NOISE)))
    second = world.pack(world.lease(1, [1]), data=[NOISE])
    whole = second.read_bytes()
    world.deliver(thinned(second, "data"))
    assert accept.accept_all(world.home).refused == 1
    second.write_bytes(whole)
    world.deliver(second)
    assert accept.accept_all(world.home).shards == 1
    assert path.read_bytes() == NOISE


def test_a_damaged_document_is_replaced_by_the_whole_one_that_comes(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    accept.accept_all(world.home)
    (kept,) = (world.spool.folder("state") / "documents").iterdir()
    good = kept.read_bytes()
    kept.write_bytes(b"something else")
    world.deliver(world.pack(world.lease(1, [1])))
    assert accept.accept_all(world.home).shards == 1
    assert kept.read_bytes() == good


@pytest.mark.parametrize("name", ["notes.txt", "00ff", "README"])
def test_a_stray_file_among_the_documents_stops_nothing(world: World, name: str) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    accept.accept_all(world.home)
    folder = world.spool.folder("state") / "documents"
    (folder / name).write_text("what a person left here")
    assert len(said(world).has) == 1
    assert (folder / name).exists()


def test_a_request_for_the_whole_bundle_survives_that_the_file_goes_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is there when a delta is checked, and gone when it is used."""
    world.deliver(world.pack(world.lease(0, [0]), data=[NOISE]))
    accept.accept_all(world.home)
    (file,) = works.live(world.spool)[0].data
    second = world.pack(world.lease(1, [1]), data=[NOISE])
    real = accept._check_space

    def slow(*given: object) -> None:
        world.spool.data(file).unlink()
        real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(accept, "_check_space", slow)
    world.deliver(thinned(second, "data"))
    assert accept.accept_all(world.home).refused == 1
    assert delta.wanted_whole(world.spool) == (BundleId(second.stem),)


def test_forged_chains_on_a_stick_change_nothing(world: World) -> None:
    first = world.authority.trust
    thief = MemoryKey.generate()
    bad = trust_file.encode(draft.rotated(first, [thief.public]), [thief])
    before = world.spool.trust.read_bytes()
    for name, raw in (("a", trust_file.encode_chain([bad])), ("b", b"no chain at all")):
        path = by(world, replace(world.authority.central, key=thief)).pack(trust=raw)
        shutil.copy(path, world.spool.folder("in") / f"{name}.pulk")
    (world.spool.folder("in") / "c.pulk").write_bytes(b"\x89PULK\r\n\n")
    Path(world.spool.folder("in") / "d.pulk").symlink_to("/etc/passwd")
    taken = accept.accept_all(world.home)
    assert (taken.bundles, taken.refused) == (0, 4)
    assert world.spool.trust.read_bytes() == before


def test_nothing_more_is_offered_of_work_that_a_revoked_key_signed(world: World) -> None:
    stolen, following = world.authority.central, world.authority.central_next
    world.deliver(world.pack(world.lease(0, [0]), world.lease(1, [1], needs=(0,))))
    mine = by(world, following).pack(world.lease(0, [2]))
    world.deliver(mine)
    assert accept.accept_all(world.home).shards == 3
    assert offer.offer(world.home, works.live(world.spool)) == 2
    second = revoking(world, stolen.public)
    carrier = by(world, following)
    carrier.sequence = 60
    world.deliver(carrier.pack(trust=chain(world.authority.trust, second)))
    assert accept.accept_all(world.home).bundles == 1
    offer.offer(world.home, works.live(world.spool))
    (left,) = works.shards_in(world.spool.folder("claimable"))
    work = works.load(world.spool, BundleId(mine.stem))
    assert work is not None
    assert [plan.lease for plan in work.plans] == [left.lease]
    pilot = world.pilot()
    assert pilot.work_through() == 1


@pytest.mark.parametrize("stop", ["release", "write_map"])
def test_a_crash_while_a_trust_version_is_acted_on_is_made_good(
    world: World, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    fresh = replace(world.authority.central, key=MemoryKey.generate())
    second = signed(world, draft.rotated(world.authority.trust, [fresh.public]))
    waiting = by(world, fresh).pack(world.lease(0, [0]))
    world.deliver(waiting)
    assert accept.accept_all(world.home).refused == 1
    world.deliver(world.pack(trust=chain(world.authority.trust, second)))
    module = {"release": quarantine, "write_map": state}[stop]

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, stop, crash)
        with pytest.raises(KeyboardInterrupt):
            accept.accept_all(world.home)
    assert world.home.trust().version == 2
    accept.accept_all(world.home)
    assert works.ids(world.spool) == [waiting.stem]
