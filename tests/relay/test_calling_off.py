"""Leases that central called off, at a site: neither begun nor offered again, and forgotten."""

from __future__ import annotations

from bundle.ids import LeaseId
from bundle.intervals import IntervalSet
from bundle.spool import called_off as called_off_files
from relay import calling_off, works
from relay.core.shards import is_over
from relay.rebuild import rebuild
from relay.tick import tick
from tests.relay.world import World


def called_off(world: World) -> list[str]:
    return world.spool.called_off.read_text().split() if world.spool.called_off.exists() else []


def test_what_is_called_off_is_offered_no_more_and_its_bundle_retires(world: World) -> None:
    off, on = world.lease(0, [0]), world.lease(1, [1])
    world.deliver(world.pack(off, on))
    assert tick(world.home).offered == 2
    world.deliver(world.pack(called_off=(off.lease,)))
    tick(world.home)
    assert called_off(world) == [off.lease.hex()]
    (left,) = works.shards_in(world.spool.folder("claimable"))
    assert left.lease == on.lease
    world.deliver(world.pack(called_off=(off.lease, on.lease)))
    tick(world.home)
    assert works.live(world.spool) == []
    world.deliver(world.pack(called_off=(off.lease, on.lease)))
    tick(world.home)
    assert called_off(world) == []  # nothing grows with what is over


def test_what_is_called_off_before_it_comes_is_never_run(world: World) -> None:
    lease = world.lease(0, [0])
    work, word = world.pack(lease), world.pack(called_off=(lease.lease,))
    world.deliver(word)
    tick(world.home)
    world.deliver(work)
    done = tick(world.home)
    assert (done.accepted, done.offered) == (1, 0)
    assert works.live(world.spool) == []


def test_a_shard_that_a_pilot_gives_back_is_not_offered_again(world: World) -> None:
    lease = world.lease(0, [0, 1])
    world.deliver(world.pack(lease))
    tick(world.home)
    pilot = world.pilot()
    header = pilot.take()
    assert header is not None
    _, attempts = pilot.journal(header, [0])
    world.deliver(world.pack(called_off=(lease.lease,)))
    assert tick(world.home).accepted == 1
    (work,) = works.live(world.spool)
    assert not is_over(work.plans, works.ended(world.spool, work.id))  # somebody works at it
    pilot.seal(header, attempts, complete=False)
    tick(world.home)
    tick(world.home)
    assert list(works.shards_in(world.spool.folder("claimable"))) == []
    (result,) = world.results(world.out("out", "sent"))
    assert [one.job for segment in result.segments for one in segment.attempts] == [0]


def test_a_memory_made_anew_knows_what_was_called_off(world: World) -> None:
    lease = world.lease(0, [0])
    world.deliver(world.pack(lease))
    tick(world.home)
    world.deliver(world.pack(called_off=(lease.lease,)))
    world.spool.called_off.write_text("not hex\n00\n")
    tick(world.home)
    assert calling_off.read(world.spool) <= {lease.lease}
    rebuild(world.home)
    assert list(works.shards_in(world.spool.folder("claimable"))) == []


def test_tasks_of_a_lease_that_goes_on_are_told_to_pilots_and_forgotten_with_their_work(
    world: World,
) -> None:
    lease = world.lease(0, [0, 1, 2])
    world.deliver(world.pack(lease))
    tick(world.home)
    for job in (0, 2, 0):
        word = ((lease.lease, 0, IntervalSet.of([job])),)
        world.deliver(world.pack(called_off_tasks=word))
        tick(world.home)
    both = {lease.lease: {0: IntervalSet.of([0, 2])}}
    assert calling_off.read_tasks(world.spool) == both
    world.deliver(world.pack())
    tick(world.home)
    assert calling_off.read_tasks(world.spool) == both
    assert calling_off.read(world.spool) == frozenset()
    (left,) = works.shards_in(world.spool.folder("claimable"))
    assert left.lease == lease.lease
    for _ in range(2):
        world.deliver(world.pack(called_off=(lease.lease,)))
        tick(world.home)
    assert calling_off.read_tasks(world.spool) == {}


def test_tasks_that_are_called_off_before_their_work_comes_stay_so(world: World) -> None:
    lease = world.lease(0, [0, 1])
    jobs = IntervalSet.of([1])
    work, old = world.pack(lease), world.pack()
    world.deliver(world.pack(called_off_tasks=((lease.lease, 0, jobs),)))
    tick(world.home)
    world.deliver(old)
    tick(world.home)
    world.deliver(work)
    tick(world.home)
    assert calling_off.read_tasks(world.spool) == {lease.lease: {0: jobs}}
    other = world.lease(1, [2])
    world.deliver(world.pack(called_off_tasks=((other.lease, 0, jobs),)))
    tick(world.home)
    assert set(calling_off.read_tasks(world.spool)) == {lease.lease, other.lease}
    world.deliver(world.pack())  # the newest word: that work will not come
    tick(world.home)
    assert set(calling_off.read_tasks(world.spool)) == {lease.lease}


def test_lines_of_the_file_that_say_nothing_are_passed_over() -> None:
    lease = LeaseId(b"l" * 16)
    off = {lease: {3: IntervalSet(((0, 2), (7, 8))), 0: IntervalSet.of([5])}}
    raw = called_off_files.write(off)
    junk = b"\xff\n\n00 1 2-3\n" + lease.hex().encode() + b" 1 9-2\n" + lease.hex().encode()
    assert called_off_files.read(junk + b" -1 1-2\n" + raw) == off
