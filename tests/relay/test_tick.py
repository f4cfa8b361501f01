"""A tick from work bundle to freed spool."""

from __future__ import annotations

import time
from pathlib import Path

from bundle.records.receipt import StreamReceipt
from bundle.spool.shard import ShardName
from bundle.wire.manifest import Kind
from relay import custody, works
from relay.tick import tick
from tests.relay.world import World, make_world


def all_out(world: World) -> list[Path]:
    return world.out("out", "sent")


def test_a_shard_goes_from_bundle_to_result_to_nothing_left(world: World) -> None:
    world.deliver(world.pack(world.lease(0, range(4))))
    assert tick(world.home).accepted == 1
    pilot = world.pilot()
    assert pilot.work_through() == 1
    pilot.end()
    done = tick(world.home)
    assert (done.collected, done.results) == (1, 2)  # the result and its telemetry
    (result,) = world.results(all_out(world))
    assert [a.job for a in result.segments[0].attempts] == [0, 1, 2, 3]
    assert len(result.files) == 4
    assert result.manifest.segments[0].telemetry
    assert not world.out("sealed")

    everything = [world.read(path) for path in all_out(world)]
    world.deliver(world.pack(receipts=world.receipts(*everything)))
    done = tick(world.home)
    assert done.retired == 1
    assert not world.results(all_out(world))
    assert not works.ids(world.spool)
    assert not any(world.spool.folder("data").rglob("?" * 64))
    ended = tick(world.home)
    assert ended.idle


def test_a_bundle_is_kept_until_central_says_safe(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    world.pilot().work_through()
    tick(world.home)
    everything = [world.read(path) for path in all_out(world)]
    world.deliver(world.pack(receipts=world.receipts(*everything, safe=False)))
    tick(world.home)
    assert len(world.results(all_out(world))) == 1  # merged is not safe
    kinds = {world.read(path).manifest.kind for path in all_out(world)}
    assert Kind.TELEMETRY not in kinds  # lossy: merged frees it


def test_a_refused_bundle_is_set_aside_and_its_documents_are_told_again(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0]), world.lease(1, [1])))
    tick(world.home)
    pilot = world.pilot()
    header = pilot.take()
    assert header is not None
    pilot.seal(header, pilot.journal(header, pilot.jobs(header))[1])
    tick(world.home)
    (first,) = world.results(all_out(world))
    assert len(first.manifest.introduces) == 3  # work manifest, lease, dataset
    numbers = ((first.manifest.sequence, "stale"),)
    receipt = StreamReceipt(first.manifest.stream, refused=numbers)
    world.deliver(world.pack(receipts=(receipt,)))
    tick(world.home)
    assert [path.name[9:73] for path in world.out("rejected")] == [first.id]
    pilot.work_through()
    tick(world.home)
    (second,) = world.results(all_out(world))
    assert len(second.manifest.introduces) == 3
    assert not second.manifest.refers


def test_documents_are_introduced_once_in_a_stream_and_referred_to_afterwards(
    world: World,
) -> None:
    world.deliver(world.pack(world.lease(0, [0]), world.lease(1, [1])))
    tick(world.home)
    pilot = world.pilot()
    for _ in range(2):
        header = pilot.take()
        assert header is not None
        pilot.seal(header, pilot.journal(header, pilot.jobs(header))[1])
        tick(world.home)
    first, second = world.results(all_out(world))
    assert len(first.manifest.introduces) == 3
    assert len(second.manifest.introduces) == 1  # its own lease only
    assert set(second.manifest.refers) <= set(first.manifest.introduces)


def test_numbers_follow_each_other_and_each_bundle_names_the_one_before(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0]), world.lease(1, [1])))
    tick(world.home)
    world.pilot().work_through()
    tick(world.home)
    chain = [world.read(path).manifest for path in all_out(world)]
    ids = [world.read(path).id for path in all_out(world)]
    assert [one.sequence for one in chain] == list(range(len(chain)))
    assert [one.previous.hex() for one in chain] == ["", *ids[:-1]]


def test_a_shard_that_needs_others_is_offered_when_their_seals_are_complete(world: World) -> None:
    last = world.lease(2, [2], needs=(0, 1))
    world.deliver(world.pack(world.lease(0, [0]), world.lease(1, [1]), last))
    tick(world.home)
    assert len(world.out("claimable")) == 2
    pilot = world.pilot()
    for left in (0, 1):
        header = pilot.take()
        assert header is not None
        pilot.seal(header, pilot.journal(header, pilot.jobs(header))[1])
        tick(world.home)
        assert (world.spool.claimable(ShardName(last.lease, 1)).exists()) == (left == 1)


def test_an_incomplete_seal_brings_the_next_turn_once(world: World) -> None:
    lease = world.lease(0, [0, 1])
    world.deliver(world.pack(lease))
    tick(world.home)
    pilot = world.pilot()
    header = pilot.take()
    assert header is not None
    pilot.seal(header, pilot.journal(header, [0])[1], complete=False)
    tick(world.home)
    tick(world.home)
    assert [path.name for path in world.out("claimable")] == [f"{ShardName(lease.lease, 2)}.shard"]


def test_a_shard_past_its_lifetime_is_withdrawn_and_the_bundle_retires(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0], duration_ms=1), world.lease(1, [1], needs=(0,))))
    tick(world.home)
    time.sleep(0.01)
    tick(world.home)
    tick(world.home)
    assert not world.out("claimable")
    assert not works.ids(world.spool)


def test_a_report_is_made_when_there_is_news_and_only_then(world: World) -> None:
    tick(world.home)
    tick(world.home)
    reports = [one for one in map(world.read, all_out(world)) if one.manifest.kind is Kind.REPORT]
    assert len(reports) == 1


def test_an_idle_tick_is_cheap_however_much_went_before(world: World) -> None:
    for _ in range(30):
        world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    pilot = world.pilot()
    pilot.work_through()
    tick(world.home)
    everything = [world.read(path) for path in all_out(world)]
    world.deliver(world.pack(receipts=world.receipts(*everything)))
    pilot.end()
    tick(world.home)
    assert not works.ids(world.spool)
    tick(world.home)
    started = time.process_time()
    tick(world.home)
    assert time.process_time() - started < 0.1


def test_outputs_gone_from_the_spool_are_reported_and_the_attempts_still_travel(
    world: World,
) -> None:
    world.deliver(world.pack(world.lease(0, [0, 1])))
    tick(world.home)
    pilot = world.pilot()
    header = pilot.take()
    assert header is not None
    _, attempts = pilot.journal(header, [0, 1])
    gone = world.spool.data(attempts[0].outputs[0][0])
    gone.chmod(0o600)
    gone.unlink()
    pilot.seal(header, attempts)
    tick(world.home)
    (result,) = world.results(all_out(world))
    assert len(result.segments[0].attempts) == 2
    assert result.files == {attempts[1].outputs[0][0]}


def test_a_pilots_batch_is_known_after_the_pilot_took_its_claim_away(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    pilot = world.pilot(batch_id="slurm:17")
    tick(world.home)
    pilot.work_through()
    pilot.end()
    tick(world.home)
    (result,) = world.results(all_out(world))
    assert result.manifest.segments[0].batch_id == "slurm:17"


def test_two_work_bundles_of_one_dataset_share_its_document_in_a_result(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    for number in range(2):
        world.deliver(world.pack(world.lease(0, [number])))
    tick(world.home)
    world.pilot().work_through()
    tick(world.home)
    (result,) = world.results(all_out(world))
    kinds = [chunk.kind for chunk in result.manifest.chunks]
    assert kinds.count("dataset") == 1
    assert kinds.count("work-manifest") == 2
    assert len(list(custody.every_held(world.spool))) == len(all_out(world))


def test_a_file_that_another_work_bundle_needs_outlives_the_first(world: World) -> None:
    """Two bundles make the same file; a pilot still works on the second."""
    world.deliver(world.pack(world.lease(0, [0])))
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    first, second = world.pilot(), world.pilot()
    header = first.take()
    assert header is not None
    (attempt,) = first.journal(header, [0])[1]
    first.seal(header, [attempt])
    first.end()
    header = second.take()
    assert header is not None
    (same,) = second.journal(header, [0])[1]
    assert same.outputs == attempt.outputs
    tick(world.home)
    everything = [world.read(path) for path in all_out(world)]
    world.deliver(world.pack(receipts=world.receipts(*everything)))
    assert tick(world.home).retired == 1
    assert world.spool.data(same.outputs[0][0]).exists()
    second.seal(header, [same])
    second.end()
    tick(world.home)
    everything = [world.read(path) for path in all_out(world)]
    world.deliver(world.pack(receipts=world.receipts(*everything)))
    assert tick(world.home).retired == 1
    assert not world.spool.data(same.outputs[0][0]).exists()
