"""A new epoch of central's: what is not safe is sent again, and what it rests on is told again."""

from __future__ import annotations

from bundle.ids import Epoch
from bundle.intervals import IntervalSet
from bundle.records.receipt import StreamReceipt
from bundle.wire.manifest import Kind
from relay.accept import accept_all
from relay.custody import every_held, tend
from relay.resync import resync
from relay.state import read_central
from relay.tick import tick
from tests.relay.world import World

LATER = Epoch(7, b"n" * 16)


def with_a_result(world: World) -> StreamReceipt:
    """One shard of two is done, its result sent and called merged, not safe."""
    world.deliver(world.pack(world.lease(0, [0, 1]), world.lease(1, [2, 3])))
    tick(world.home)
    pilot = world.pilot()
    header = pilot.take()
    assert header is not None
    _, attempts = pilot.journal(header, pilot.jobs(header))
    pilot.seal(header, attempts)
    tick(world.home)
    for path in world.out():
        path.rename(world.spool.folder("sent") / path.name)
    (arrived,) = world.results(world.out("sent"))
    receipt = world.receipts(arrived, safe=False)[0]
    world.deliver(world.pack(receipts=(receipt,)))
    accept_all(world.home)
    tend(world.home, None)
    assert not world.results(world.out())
    return receipt


def test_what_the_restored_central_does_not_name_is_sent_again(world: World) -> None:
    receipt = with_a_result(world)
    world.deliver(world.pack(epoch=LATER, stream=b"d" * 16, receipts=()))
    accept_all(world.home)
    assert read_central(world.spool).epoch == LATER
    assert resync(world.home) == 1
    numbers = {held.sequence for held in every_held(world.spool) if held.place == "out"}
    assert receipt.merged.spans[0][0] in numbers


def test_it_tells_again_every_work_manifest_lease_and_document_once(world: World) -> None:
    with_a_result(world)
    world.deliver(world.pack(epoch=LATER, stream=b"d" * 16))
    accept_all(world.home)
    resync(world.home)
    told = [one for one in world.results(world.out()) if not one.segments]
    (explained,) = told
    kinds = [entry.kind for entry in explained.manifest.chunks]
    assert sorted(kinds) == ["dataset", "lease", "lease", "work-manifest"]
    assert set(explained.manifest.introduces) == {
        entry.digest for entry in explained.manifest.chunks
    }
    assert resync(world.home) == 0  # done once, unless a crash came between
    # What comes later in the stream refers to it.
    world.pilot().work_through()
    tick(world.home)
    fresh = max(world.results(world.out()), key=lambda one: one.manifest.sequence)
    assert fresh.segments
    assert set(fresh.manifest.refers) <= set(explained.manifest.introduces)
    assert fresh.manifest.refers


def test_what_was_safe_stays_safe_and_is_not_kept_for_anybody(world: World) -> None:
    receipt = with_a_result(world)
    safe = StreamReceipt(receipt.stream, merged=receipt.merged, safe=receipt.merged)
    world.deliver(world.pack(receipts=(safe,)))
    world.deliver(world.pack(epoch=LATER, stream=b"d" * 16))
    tick(world.home)
    tick(world.home)
    assert not [one for one in world.results(world.out("out", "sent")) if one.segments]


def test_an_epoch_that_is_not_later_owes_nothing(world: World) -> None:
    receipt = with_a_result(world)
    more = StreamReceipt(receipt.stream, merged=receipt.merged | IntervalSet.of([0]))
    world.deliver(world.pack(receipts=(more,)))
    accept_all(world.home)
    assert resync(world.home) == 0
    assert all(held.kind is not Kind.RESULT or held.place != "out"
               for held in every_held(world.spool))  # fmt: skip
