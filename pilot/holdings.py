"""What every slot holds of the node: room, shares of GPUs, cores."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pilot.core.cores import Cores
from pilot.core.granted import told
from pilot.core.node import Node
from pilot.core.room import Grant, Need, Room


@dataclass(frozen=True, slots=True)
class Held:
    """The part of the node that a slot holds; `cpus` is empty where it may run on any."""

    grant: Grant
    cpus: tuple[int, ...]
    told: dict[str, str]  # the variables by which its tasks know


class Holdings:
    """The node, divided among slots. Changes in place; `room` is what is left."""

    def __init__(self, room: Room, found: Node) -> None:
        """Begin with everything free; cores are given only where they are nobody else's."""
        self.node = self.room = room
        self._cores = Cores(found.cores)
        self._may_pin = found.may_pin
        self._gpus = [one.uuid for one in found.gpus]
        self._held: dict[int, Held] = {}
        self._beyond: dict[int, tuple[int, int, tuple[int, ...]]] = {}  # milli-cores, MiB, cores

    def take(self, slot: int, need: Need, *, pinned: bool) -> Held:
        """Give a slot what a task needs; `pinned`: with cores of its own, unless it gets all."""
        self.room, grant = self.room.take(need)
        cpus: tuple[int, ...] = ()
        if pinned and self._may_pin and need.cpu_milli < self.node.cpu_milli:
            cpus = self._cores.take(need.cpu_milli)
        held = self._held[slot] = Held(grant, cpus, told(grant, self._gpus))
        return held

    def set_aside(self, size: int) -> None:
        """Take disk for files that no slot holds; less than 0 gives it back."""
        self.room = replace(self.room, disk_bytes=self.room.disk_bytes - size)

    def extend(self, slot: int, cpu_milli: int, memory_mib: int) -> tuple[int, ...]:
        """Let a slot hold so much beyond what it took, in all; return all its cores.

        Raises ValueError where that is more than there is.
        """
        had_milli, had_mib, cores = self._beyond.pop(slot, (0, 0, ()))
        if cores:
            self._cores.give_back(cores, had_milli)
        left = replace(
            self.room,
            cpu_milli=self.room.cpu_milli + had_milli - cpu_milli,
            memory_mib=self.room.memory_mib + had_mib - memory_mib,
        )
        if left.cpu_milli < 0 or left.memory_mib < 0:
            raise ValueError(f"{cpu_milli} milli-cores and {memory_mib} MiB do not fit")
        self.room, own = left, self._held[slot].cpus
        cores = self._cores.take(cpu_milli) if own and cpu_milli else ()
        if cpu_milli or memory_mib:
            self._beyond[slot] = cpu_milli, memory_mib, cores
        return tuple(sorted({*own, *cores}))

    def let_go(self, slot: int) -> None:
        """Take back what a slot holds, if anything."""
        if slot in self._beyond:
            self.extend(slot, 0, 0)
        held = self._held.pop(slot, None)
        if held is not None:
            self.room = self.room.give_back(held.grant)
            if held.cpus:
                self._cores.give_back(held.cpus, held.grant.need.cpu_milli)
