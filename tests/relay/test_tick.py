"""A tick from work bundle to freed spool."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.records.receipt import StreamReceipt
from bundle.spool import publish
from bundle.spool.journal import read_journal
from bundle.spool.records import read_records
from bundle.spool.shard import ShardName
from bundle.wire.manifest import Kind
from relay import custody, retire, works
from relay.collect import collect
from relay.results import publish_results
from relay.sources import Sources
from relay.tick import tick
from site_adapters import process
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
    assert pilot.work_one()
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
        assert pilot.work_one()
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
        assert pilot.work_one()
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


def test_a_pilot_that_fills_segment_after_segment_uses_up_one_turn(tmp_path: Path) -> None:
    world = make_world(tmp_path, "[pilots]\ncount = 0\nturns_max = 3\n")
    big = world.lease(0, range(4))
    world.deliver(world.pack(big, world.lease(1, [4], needs=(0,))))
    tick(world.home)
    pilot = world.pilot(host=platform.node(), boot_id=process.boot_id(), pid=os.getpid())
    alive = process.look(os.getpid())
    assert alive is not None
    header = pilot.take()
    assert header is not None
    for _ in range(4):
        later = replace(header, turn=header.turn + 1)
        here, there = (pilot.name(one).shard for one in (header, later))
        world.spool.held_shard(pilot.run, here).rename(world.spool.held_shard(pilot.run, there))
        pilot.seal(header, [], complete=False)
        header = later
        collect_only(world)
    (work,) = works.ids(world.spool)
    assert not works.ended(world.spool, work).up
    assert tick(world.home).salvaged == 1  # its claim names another process: it died
    assert [one.stem for one in world.out("claimable")] == [str(ShardName(big.lease, 6))]


def collect_only(world: World) -> None:
    with Sources(world.spool, world.home.trust(), world.home.site) as sources:
        found = collect(world.home, works.live(world.spool), sources)
        publish_results(world.home, found, sources)


def test_a_seal_that_changes_before_it_is_packed_waits_for_the_next_tick(world: World) -> None:
    """A pilot that was thought dead may seal after its journal was salvaged."""
    world.deliver(world.pack(world.lease(0, range(4))))
    tick(world.home)
    pilot = world.pilot()
    header = pilot.take()
    assert header is not None
    _, attempts = pilot.journal(header, range(4))
    path = pilot.seal(header, attempts[:2], complete=False)
    with Sources(world.spool, world.home.trust(), world.home.site) as sources:
        found = collect(world.home, works.live(world.spool), sources)
        path.unlink()
        pilot.seal(header, attempts)
        publish_results(world.home, found, sources)
    tick(world.home)
    results = world.results(all_out(world))
    assert [s.attempts for one in results for s in one.segments] == [tuple(attempts)]
    for one in results:
        named = [entry.digest for entry in one.manifest.segments]
        chunks = [c.digest for c in one.manifest.chunks if c.kind == "segment"]
        assert named == chunks


def test_generated_inputs_that_nobody_asked_for_in_a_day_are_removed(world: World) -> None:
    folder = world.spool.folder("data") / "generated"
    tick(world.home)
    folder.mkdir()
    for name in ("old", "new"):
        (folder / name).touch()
    os.utime(folder / "old", (1, 1))
    tick(world.home)
    assert [one.name for one in folder.iterdir()] == ["new"]


def test_a_torn_row_of_outputs_spoils_no_other(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    (work,) = works.ids(world.spool)
    files = [bytes([n]) * 32 for n in range(3)]
    works.add_outputs(world.spool, work, files[:1])
    with (world.spool.work(work) / "outputs").open("ab") as file:
        file.write(bytes(20))  # a crash or a full disk in the middle of a row
    works.add_outputs(world.spool, work, files[1:])
    assert works.outputs(world.spool, work) == frozenset(files)


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


def test_the_batch_of_a_pilot_that_came_and_went_between_two_ticks_is_known(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    pilot = world.pilot(batch_id="slurm:17")
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


def test_a_file_just_made_again_outlives_a_work_bundle_though_its_task_wrote_it_long_ago(
    world: World,
) -> None:
    for _ in range(2):
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
    path, (same,) = second.journal(header, [0])
    (file, _), *_ = same.outputs
    path.write_bytes(path.read_bytes()[:600])  # its record is not written yet
    assert not read_records(read_journal(path).records).attempts
    os.utime(world.spool.data(file), (1, 1))
    tick(world.home)
    everything = [world.read(path) for path in all_out(world)]
    world.deliver(world.pack(receipts=world.receipts(*everything)))
    assert tick(world.home).retired == 1
    assert world.spool.data(file).exists()


def test_a_file_that_nobody_recorded_goes_when_it_is_old(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs of a task whose pilot or slot was killed before it was recorded."""
    for number in range(3):
        world.deliver(world.pack(world.lease(0, [number])))
    tick(world.home)
    orphan = world.spool.data(bytes(32))
    publish.make_folder(orphan.parent)
    orphan.touch()

    def retire_one() -> set[Path]:
        pilot = world.pilot()
        assert pilot.work_one()
        pilot.end()
        tick(world.home)
        everything = [world.read(path) for path in all_out(world)]
        world.deliver(world.pack(receipts=world.receipts(*everything)))
        assert tick(world.home).retired == 1
        return set(world.spool.folder("data").glob("*/*"))

    still_held = world.pilot()
    header = still_held.take()
    assert header is not None
    ((file, _),) = still_held.journal(header, still_held.jobs(header))[1][0].outputs
    assert retire_one() > {orphan, world.spool.data(file)}
    monkeypatch.setattr(retire, "LEFTOVER_S", -1)
    assert retire_one() == {world.spool.data(file)}
