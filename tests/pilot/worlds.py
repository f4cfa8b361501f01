"""Random nodes and queues in virtual time: Pulk's packing, and five heuristics of the literature.

The heuristics know the length of every task beforehand; the packing learns it, beginning with
walltimes that are too high. All start whatever fits as soon as it fits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

from pilot.core.durations import Durations
from pilot.core.packing import Packing
from pilot.core.ranks import Plan
from pilot.core.room import Grant, Need, Room

SECOND_US = 1_000_000
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Task:
    """One task: what it needs, how long it takes in truth, which tasks come before."""

    shard: int
    step: int
    job: int
    need: Need
    took_us: int
    parents: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class World:
    """A node, the tasks of its queue with parents first, and what each shard's steps ask for."""

    node: Room
    slots: int
    tasks: tuple[Task, ...]
    shards: tuple[tuple[tuple[Need, int, tuple[int, ...]], ...], ...]  # need, walltime, parents
    jobs: tuple[int, ...]


def world(chance: random.Random) -> World:
    """Make a node with some shards: chains, diamonds, GPU steps, steps that fill memory."""
    cores = chance.choice((2, 4, 8, 16, 32, 64))
    gpus = chance.choice((0, 0, 1, 2, 4))
    node = Room(1000 * cores, cores * chance.choice((2048, 4096)), 50 * cores * GIB, (1000,) * gpus)
    slots = chance.choice((cores, cores, 2 * cores))
    tasks: list[Task] = []
    shards, jobs = [], []
    for shard in range(chance.randint(1, 4)):
        many = chance.randint(1, max(2, 4 * cores // chance.choice((1, 2, 4, 8))))
        scale_us = SECOND_US * chance.choice((20, 300, 3000))
        steps: list[tuple[Need, int, tuple[int, ...]]] = []
        means = []
        for step in range(chance.randint(1, 5)):
            mean = scale_us * chance.lognormvariate(0, 1)
            means.append(mean)
            walltime_us = round(mean * chance.uniform(2, 8))
            before = range(step)
            parents = tuple(sorted(chance.sample(before, min(step, chance.choice((0, 1, 1, 2))))))
            steps.append((_need(chance, node, cores), walltime_us, parents))
        at = len(tasks)
        spread = chance.choice((0.02, 0.1, 0.3))
        for job in range(many):
            for step, (need, walltime_us, parents) in enumerate(steps):
                took_us = min(walltime_us, round(means[step] * chance.lognormvariate(0, spread)))
                before_it = tuple(at + job * len(steps) + parent for parent in parents)
                tasks.append(Task(shard, step, job, need, max(took_us, 1), before_it))
        shards.append(tuple(steps))
        jobs.append(many)
    return World(node, slots, tuple(tasks), tuple(shards), tuple(jobs))


def _need(chance: random.Random, node: Room, cores: int) -> Need:
    wide = chance.random() < 0.25
    cpu = chance.choice((1, 1, 1, 2, 4, max(1, cores // 2), cores)) if wide else 1
    memory = chance.choice((256, 1024, 2048, 4096, node.memory_mib // 3, node.memory_mib))
    gpu = chance.choice((250, 500, 1000, 1000, 1000 * len(node.gpus))) if node.gpus else 0
    return Need(
        1000 * min(cpu, cores) if chance.random() < 0.9 else 500,
        min(memory if wide else chance.choice((256, 1024, 2048)), node.memory_mib),
        chance.choice((1, 1, 5, 40)) * GIB,
        gpu if chance.random() < 0.35 else 0,
    )


Watch = Callable[[int, Room, list[tuple[int, Grant]]], None]


def packed(one: World, end_us: int = 0, watch: Watch | None = None) -> tuple[int, list[int]]:
    """Run a world with the pilot's packing; return the makespan and the tasks in order of start."""
    durations = Durations()
    packing = Packing(one.node, durations, one.slots)
    plans = []
    for shard, steps in enumerate(one.shards):
        plan = plan_of(shard, steps, one.jobs[shard])
        plans.append(plan)
        packing.add(shard, plan)
    at = {(task.shard, task.step, task.job): number for number, task in enumerate(one.tasks)}
    missing = [len(task.parents) for task in one.tasks]
    children = _children(one)

    def push(number: int) -> None:
        task = one.tasks[number]
        walltime_us = one.shards[task.shard][task.step][1]
        packing.push(task.shard, task.step, task.job, task.need, walltime_us, 0, suspect=False)

    for number, many in enumerate(missing):
        if not many:
            push(number)
    room, now_us = one.node, 0
    ends: list[tuple[int, int, int]] = []
    running: dict[int, tuple[int, Grant]] = {}
    free = list(range(one.slots))
    order: list[int] = []
    while True:
        while free and (found := packing.next(room, now_us, end_us=end_us)):
            number = at[found]
            task, slot = one.tasks[number], free.pop()
            room, grant = room.take(task.need)
            walltime_us = one.shards[task.shard][task.step][1]
            took_us = packing.took_us(task.shard, task.step)
            packing.started(slot, grant, now_us, took_us, walltime_us)
            running[slot] = number, grant
            order.append(number)
            heappush(ends, (now_us + task.took_us, number, slot))
        if watch is not None:
            watch(now_us, room, list(running.values()))
        if not ends:
            return now_us, order
        now_us, number, slot = heappop(ends)
        task = one.tasks[number]
        packing.ended(slot)
        room = room.give_back(running.pop(slot)[1])
        free.append(slot)
        plans[task.shard].left[task.step] -= 1
        durations.note((task.shard, task.step), task.took_us / SECOND_US)
        for child in children[number]:
            missing[child] -= 1
            if not missing[child]:
                push(child)


def plan_of(shard: int, steps: tuple[tuple[Need, int, tuple[int, ...]], ...], jobs: int) -> Plan:
    """Return a shard as packing sees it."""
    children: list[list[int]] = [[] for _ in steps]
    levels = [0] * len(steps)
    for step, (_, _, parents) in enumerate(steps):
        for parent in parents:
            children[parent].append(step)
        levels[step] = 1 + max((levels[parent] for parent in parents), default=-1)
    return Plan(
        [(shard, step) for step in range(len(steps))],
        [need for need, _, _ in steps],
        [walltime_us for _, walltime_us, _ in steps],
        children,
        range(len(steps)),
        levels,
        [jobs] * len(steps),
    )


def _children(one: World) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in one.tasks]
    for number, task in enumerate(one.tasks):
        for parent in task.parents:
            found[parent].append(number)
    return found


def listed(one: World, priority: list[float]) -> int:
    """Return the makespan of list scheduling: at every end, all that fits, the lowest first."""
    missing = [len(task.parents) for task in one.tasks]
    children = _children(one)
    ready = sorted((priority[number], number) for number, many in enumerate(missing) if not many)
    room, now_us, free = one.node, 0, one.slots
    ends: list[tuple[int, int, Grant]] = []
    while True:
        left = []
        refused: set[Need] = set()
        for at, (rank, number) in enumerate(ready):
            need = one.tasks[number].need
            if not free:
                left += ready[at:]
                break
            if need in refused or not room.fits(need):
                refused.add(need)
                left.append((rank, number))
                continue
            room, grant = room.take(need)
            free -= 1
            heappush(ends, (now_us + one.tasks[number].took_us, number, grant))
        ready = left
        if not ends:
            return now_us
        now_us, number, grant = heappop(ends)
        room = room.give_back(grant)
        free += 1
        new = []
        for child in children[number]:
            missing[child] -= 1
            if not missing[child]:
                new.append((priority[child], child))
        if new:
            ready = sorted(ready + new)


def heuristics(one: World) -> Iterator[tuple[str, int]]:
    """Yield the makespan of each heuristic; all know every length beforehand."""
    tasks, node = one.tasks, one.node
    children = _children(one)
    upward = [float(task.took_us) for task in tasks]
    for number in range(len(tasks) - 1, -1, -1):
        upward[number] += max((upward[child] for child in children[number]), default=0.0)

    def size(need: Need) -> float:
        return max(
            need.cpu_milli / node.cpu_milli,
            need.memory_mib / node.memory_mib,
            need.disk_bytes / node.disk_bytes,
            need.gpu_milli / (1000 * len(node.gpus)) if node.gpus else 0.0,
        )

    yield "longest first", listed(one, [-task.took_us for task in tasks])
    yield "shortest first", listed(one, [task.took_us for task in tasks])
    yield "first come", listed(one, [float(number) for number in range(len(tasks))])
    yield "largest first", listed(one, [-size(task.need) for task in tasks])
    yield "upward rank", listed(one, [-rank for rank in upward])
