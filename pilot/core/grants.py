"""Idle cores and memory for tasks that can use them: who gets what, who gives what back.

The task with the longest time left comes first: it decides when the node is done. Cores go whole;
what was asked for stays a task's own. Cores come back from tasks that said they can shrink, from
the one that is done soonest. Memory does not come back while a task runs: no program can be relied
on to return pages at once, and stopping it for that would cost what it did.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pilot.core.room import Need, Room

CORE_MILLI = 1000


@dataclass(frozen=True, slots=True)
class Stretch:
    """An elastic task that runs: what it asked for, has beyond that, and could use in all.

    `left_us` is what it will still take, as far as that is known.
    """

    slot: int
    need: Need
    cpu_milli_max: int
    memory_mib_max: int
    shrinks: bool
    left_us: int
    cpu_milli: int = 0  # beyond its need
    memory_mib: int = 0

    @property
    def in_all(self) -> tuple[int, int]:
        """Milli-cores and MiB that are the task's now."""
        return self.need.cpu_milli + self.cpu_milli, self.need.memory_mib + self.memory_mib


def grown(room: Room, tasks: Iterable[Stretch], *, keeps: bool) -> list[Stretch]:
    """Return the tasks that get more of the room that is left, as they are then.

    `keeps`: nothing will want the room any more, so that a task that cannot shrink may have it,
    and memory is given away.
    """
    cpu_milli, memory_mib = max(room.cpu_milli, 0), max(room.memory_mib, 0)
    changed = []
    for task in sorted(tasks, key=lambda one: (-one.left_us, one.slot)):
        cores = wants = 0
        has_cpu, has_memory = task.in_all
        if keeps or task.shrinks:
            most = min(task.cpu_milli_max - has_cpu, cpu_milli)
            cores = max(most, 0) // CORE_MILLI * CORE_MILLI
        if keeps:
            wants = max(min(task.memory_mib_max - has_memory, memory_mib), 0)
        if cores or wants:
            cpu_milli, memory_mib = cpu_milli - cores, memory_mib - wants
            changed.append(
                replace(task, cpu_milli=task.cpu_milli + cores, memory_mib=task.memory_mib + wants)
            )
    return changed


def taken_back(missing_milli: int, tasks: Iterable[Stretch]) -> list[Stretch]:
    """Return the tasks that give back cores, as they are then, until so many are free.

    All that can be had, where that is less: `returnable` says how many can.
    """
    changed = []
    for task in sorted(tasks, key=lambda one: (one.left_us, one.slot)):
        if missing_milli <= 0:
            break
        if task.shrinks and task.cpu_milli:
            given = min(-(-missing_milli // CORE_MILLI) * CORE_MILLI, task.cpu_milli)
            missing_milli -= given
            changed.append(replace(task, cpu_milli=task.cpu_milli - given))
    return changed


def returnable(tasks: Iterable[Stretch]) -> int:
    """Return how many milli-cores would come back if a new task needed them."""
    return sum(one.cpu_milli for one in tasks if one.shrinks)
