"""What fits on the node: cores and memory of the running tasks never exceed it."""

from __future__ import annotations

from dataclasses import dataclass

from bundle.dataset.spec import Request


@dataclass(frozen=True, slots=True)
class Room:
    """Cores in milli-cores and memory in MiB, of a node or what is left of it."""

    cpu_milli: int
    memory_mib: int

    def fits(self, other: Room) -> bool:
        """Return whether `other` fits into this room."""
        return other.cpu_milli <= self.cpu_milli and other.memory_mib <= self.memory_mib

    def less(self, other: Room) -> Room:
        """Return what is left once `other` is taken."""
        return Room(self.cpu_milli - other.cpu_milli, self.memory_mib - other.memory_mib)

    def plus(self, other: Room) -> Room:
        """Return the room once `other` is given back."""
        return Room(self.cpu_milli + other.cpu_milli, self.memory_mib + other.memory_mib)


def wanted(request: Request, node: Room) -> Room:
    """Return what a task takes of a node.

    One that asks for more than the whole node gets the whole node and runs alone: requests are
    often too high, and a task that nobody starts is worse than a slow one.
    """
    return Room(min(request.cpu_milli, node.cpu_milli), min(request.memory_mib, node.memory_mib))
