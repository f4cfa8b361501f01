"""The agenda orders a shard's tasks: parents first, within the node, within the retry budget."""

from __future__ import annotations

import random
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle.dataset import graph
from bundle.dataset.spec import Command, Dataset, Per, Request, Step
from bundle.fates import Fate, counts
from bundle.ids import DatasetId, LeaseId, PilotRun
from bundle.intervals import IntervalSet
from bundle.records.lease import Block, Lease, Pinned
from bundle.retry import LOSSES_PER_PILOT, Ended
from pilot.core.agenda import Agenda, Start, State
from pilot.core.lineage import Earlier, Place, settle
from pilot.core.room import Room

NODE = Room(4000, 8192)
NAME = DatasetId("a" * 26)


def lease_of(
    data: Dataset,
    places: set[Place] | None = None,
    pins: tuple[Pinned, ...] = (),
    spent: tuple[tuple[int, int, int], ...] = (),
) -> Lease:
    blocks = []
    for step in range(len(data.steps)):
        jobs = [
            job for job in range(data.tasks_of(step)) if places is None or (step, job) in places
        ]
        if jobs:
            blocks.append(Block(1, IntervalSet.of(jobs), (step,)))
    return Lease(LeaseId(bytes(16)), NAME, bytes(32), 0, tuple(blocks), (), (), (), pins, spent, 0)


def agenda_of(data: Dataset, lease: Lease | None = None, node: Room = NODE) -> Agenda:
    lease = lease_of(data) if lease is None else lease
    return Agenda(data, lease, settle(data, lease, ()), node)


def step_of(
    index: int, *needs: int, per: Per = Per.JOB, block_jobs: int = 0, **request: int
) -> Step:
    return Step(
        f"s{index}",
        Command(("true",)),
        per,
        needs,
        request=Request(**request),
        failures_max=2,
        block_jobs=block_jobs if per is Per.BLOCK else 0,
    )


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    count = draw(st.integers(1, 8))
    steps: list[Step] = []
    size = draw(st.integers(1, 3))
    for index in range(count):
        needs = draw(st.sets(st.integers(0, index - 1), max_size=3)) if index else set()
        above = {steps[one].per for one in needs}
        words = [Per.JOB, Per.JOB] if Per.BLOCK not in above else [Per.BLOCK]
        words += [Per.BLOCK] if above - {Per.DATASET} else []
        steps.append(
            step_of(
                index,
                *sorted(needs),
                per=draw(st.sampled_from([*words, Per.DATASET])),
                block_jobs=size,
                cpu_milli=draw(st.sampled_from([500, 1000, 3000, 9000])),
                memory_mib=draw(st.sampled_from([1, 4096, 9000])),
            )
        )
    return Dataset("d", draw(st.integers(1, 4)), 1, tuple(steps))


FATES = [Fate.SUCCESS] * 6 + [Fate.PAYLOAD_ERROR, Fate.OOM, Fate.NODE_FAILURE]


@settings(suppress_health_check=[HealthCheck.large_base_example, HealthCheck.too_slow])
@given(datasets(), st.integers(1, 5), st.randoms(use_true_random=False))
def test_any_dag_runs_parents_first_within_slots_node_and_budget(
    data: Dataset, slots: int, draws: random.Random
) -> None:
    agenda = agenda_of(data)
    running: dict[Place, Start] = {}
    tries: dict[Place, list[Fate]] = {}
    room, grants = NODE, {}
    while True:
        while len(running) < slots and (start := agenda.next(room)):
            parents = graph.parents(data, *start.place)
            assert all(agenda.state(parent) is State.DONE for parent in parents)
            assert start.consumed == tuple(agenda.outcomes[parent].digest for parent in parents)
            assert start.place not in running
            running[start.place] = start
            room, grants[start.place] = room.take(start.need)
            assert room.cpu_milli >= 0 and room.memory_mib >= 0 and room.disk_bytes >= 0
        assert agenda.complete == (not running)  # nothing runs, so nothing fits an empty node
        if not running:
            break
        place = draws.choice(sorted(running))
        if draws.randrange(10) == 0:
            del running[place]
            room = room.give_back(grants.pop(place))
            agenda.put_back(place)
            continue
        fate = draws.choice(FATES)
        del running[place]
        room = room.give_back(grants.pop(place))
        tries.setdefault(place, []).append(fate)
        agenda.ended(place, fate, ((bytes([len(tries[place])]) * 32, 1),))
    for step in range(len(data.steps)):
        for job in range(data.tasks_of(step)):
            seen = tries.get((step, job), [])
            assert sum(map(counts, seen)) <= data.steps[step].failures_max
            assert seen.count(Fate.NODE_FAILURE) <= LOSSES_PER_PILOT
            assert seen.count(Fate.SUCCESS) <= 1
            expected = State.DONE if Fate.SUCCESS in seen else State.EXHAUSTED
            assert agenda.state((step, job)) is (expected if seen else State.BLOCKED)
            if not seen:
                parents = graph.parents(data, step, job)
                assert any(agenda.state(parent) is not State.DONE for parent in parents)


def test_while_much_is_left_a_job_is_run_to_its_end_before_the_next_one_begins() -> None:
    agenda = agenda_of(Dataset("d", 400, 1, (step_of(0), step_of(1, 0), step_of(2, 1))))
    seen = []
    while start := agenda.next(NODE):
        seen.append(start.place)
        agenda.ended(start.place, Fate.SUCCESS)
    assert seen == [(step, job) for job in range(400) for step in range(3)]


def test_failures_spent_elsewhere_leave_fewer_tries() -> None:
    data = Dataset("d", 2, 1, (step_of(0),))
    agenda = agenda_of(data, lease_of(data, spent=((0, 0, 1), (1, 0, 2))))
    assert agenda.state((0, 1)) is State.EXHAUSTED
    start = agenda.next(NODE)
    assert start is not None and start.place == (0, 0)
    agenda.ended((0, 0), Fate.PAYLOAD_ERROR)
    assert agenda.complete and agenda.state((0, 0)) is State.EXHAUSTED


def test_a_parent_in_no_known_shard_blocks_its_children() -> None:
    data = Dataset("d", 1, 1, (step_of(0), step_of(1, 0), step_of(2, 1)))
    agenda = agenda_of(data, lease_of(data, {(1, 0), (2, 0)}))
    assert agenda.complete
    assert agenda.count(State.BLOCKED) == 2


def test_a_pinned_parent_is_built_upon() -> None:
    data = Dataset("d", 1, 1, (step_of(0), step_of(1, 0)))
    pin = Pinned(0, 0, 1, "", ((b"x" * 32, 5),))
    agenda = agenda_of(data, lease_of(data, {(1, 0)}, pins=(pin,)))
    start = agenda.next(NODE)
    assert start is not None and start.place == (1, 0) and len(start.consumed) == 1


def test_a_task_larger_than_the_node_runs_alone() -> None:
    data = Dataset("d", 2, 1, (step_of(0, cpu_milli=64_000, memory_mib=1 << 20),))
    agenda = agenda_of(data)
    start = agenda.next(NODE)
    assert start is not None
    assert (start.need.cpu_milli, start.need.memory_mib) == (4000, 8192)
    assert agenda.next(NODE.take(start.need)[0]) is None


def test_small_tasks_overtake_a_large_one_but_not_for_ever() -> None:
    data = Dataset("d", 500, 1, (step_of(0, cpu_milli=1), step_of(1, cpu_milli=4000)))
    agenda = agenda_of(data)
    room, started = Room(3000, 8192), []
    while start := agenda.next(room):
        started.append(start.place[0])
    assert 0 < len(started) < 500
    freed = agenda.next(NODE)
    assert freed is not None and freed.place[0] == 1


def test_ten_thousand_steps_with_a_fan_in_of_six_thousand_take_a_moment() -> None:
    wide = tuple(step_of(index, per=Per.DATASET) for index in range(6000))
    join = step_of(6000, *range(6000), per=Per.DATASET)
    tail = tuple(step_of(6001 + index, 6000 + index, per=Per.DATASET) for index in range(4000))
    data = Dataset("d", 1, 1, (*wide, join, *tail))
    began_s = time.process_time()
    agenda = agenda_of(data)
    while start := agenda.next(NODE):
        agenda.ended(start.place, Fate.SUCCESS)
    assert agenda.count(State.DONE) == 10_001
    assert time.process_time() - began_s < 30  # quadratic cost would take minutes


def test_nothing_is_known_to_be_done_without_an_outcome() -> None:
    data = Dataset("d", 1, 1, (step_of(0),))
    agenda = Agenda(data, lease_of(data), Earlier({}, {}), NODE)
    assert agenda.state((0, 0)) is State.READY


def test_what_is_called_off_starts_no_more_and_the_rest_ends_the_shard() -> None:
    data = Dataset("off", 4, 1, (step_of(0), step_of(1, 0)))
    agenda = agenda_of(data)
    first = agenda.next(NODE)
    assert first is not None and first.place == (0, 0)
    second = agenda.next(NODE)
    assert second is not None and second.place == (0, 1)
    off = IntervalSet.of([1, 2])
    assert agenda.call_off(0, off) == {(0, 1)}  # it runs: who asks stops it
    assert agenda.call_off(0, off) == frozenset()
    assert agenda.state((0, 2)) is State.UNWANTED
    assert agenda.state((1, 2)) is State.BLOCKED
    agenda.ended((0, 1), Fate.CANCELLED)
    assert agenda.state((0, 1)) is State.UNWANTED
    agenda.ended((0, 0), Fate.SUCCESS)
    ran = [first.place]
    while (start := agenda.next(NODE)) is not None:
        ran.append(start.place)
        agenda.ended(start.place, Fate.SUCCESS)
    assert sorted(ran) == [(0, 0), (0, 3), (1, 0), (1, 3)]
    assert agenda.complete


def test_what_ended_well_before_it_was_stopped_is_done_and_its_children_run() -> None:
    agenda = agenda_of(Dataset("off", 1, 1, (step_of(0), step_of(1, 0))))
    assert agenda.next(NODE) is not None
    assert agenda.call_off(0, IntervalSet.of([0])) == {(0, 0)}
    agenda.ended((0, 0), Fate.SUCCESS)
    assert agenda.state((0, 0)) is State.DONE
    assert agenda.next(NODE) is not None


def test_a_task_that_backs_off_and_is_called_off_is_not_waited_for() -> None:
    agenda = agenda_of(Dataset("off", 1, 1, (step_of(0),)))
    assert agenda.next(NODE, 0) is not None
    agenda.ended((0, 0), Ended(Fate.PAYLOAD_ERROR, PilotRun(bytes(8)), ended_us=1))
    agenda.call_off(0, IntervalSet.of([0]))
    assert agenda.complete and agenda.due_us == 0
    assert agenda.next(NODE) is None


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_nothing_that_was_called_off_starts_whenever_that_is_and_the_shard_ends(
    data: st.DataObject,
) -> None:
    steps = (
        step_of(0),
        step_of(1, 0),
        step_of(2, 0, per=Per.BLOCK, block_jobs=2),
        step_of(3, 2, per=Per.DATASET),
    )
    agenda = agenda_of(Dataset("off", 5, 1, steps), node=Room(3000, 8192))
    running: list[Place] = []
    off: set[Place] = set()
    for _ in range(200):
        match data.draw(st.integers(0, 3)):
            case 0:
                step, job = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 4))
                runs = agenda.call_off(step, IntervalSet.of([job]))
                assert runs <= set(running)
                off.add((step, job))
            case 1 if running:
                place = running.pop(data.draw(st.integers(0, len(running) - 1)))
                fates = [Fate.SUCCESS, Fate.PAYLOAD_ERROR, Fate.CANCELLED, Fate.LOST]
                agenda.ended(place, data.draw(st.sampled_from(fates)))
            case 2 if running:
                agenda.put_back(running.pop())
            case _ if len(running) < 3 and (start := agenda.next(NODE)) is not None:
                assert start.place not in off
                running.append(start.place)
        if agenda.complete:
            break
    while running or not agenda.complete:
        for place in running:
            agenda.ended(place, Fate.SUCCESS)
        running = []
        while (start := agenda.next(NODE)) is not None:
            assert start.place not in off
            running.append(start.place)
    assert agenda.complete
