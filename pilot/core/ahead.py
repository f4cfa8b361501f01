"""What is brought before its task can start: for which tasks, and on how much of the disk."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from pilot.core.room import UNBOUNDED, Grant, Need, Room

HOP_BYTES_MIN = 1 << 20  # files of a task that are smaller together are moved by its slot itself
NODES_AHEAD = 2  # what is brought ahead may fill the node so many times
TASKS_PER_SLOT = 2
PASSED_MAX = 64  # the best one without room is passed so often, then nothing passes it


@dataclass(frozen=True, slots=True)
class Staging:
    """What a site's operator allows: transfers at once, and bytes per second, in each direction.

    With a rate, files move one after the other, so that the first one is whole first. 0: no limit
    of the rate, or of what lies ahead but the node's disk.
    """

    bytes_per_s: int = 0
    at_once: int = 2
    ahead_bytes_max: int = 0

    @property
    def threads(self) -> int:
        """How many files move at once in each direction."""
        return 1 if self.bytes_per_s else self.at_once


@dataclass(frozen=True, slots=True)
class _Held:
    grant: Grant
    need: Need
    size: int


class Ahead:
    """The tasks whose files are here, or on their way, before the tasks start.

    Together they would fill the node `NODES_AHEAD` times, so a line for one scarce thing (a GPU)
    keeps nothing else from coming. Changes in place, but decides from its arguments alone.
    """

    def __init__(self, node: Room, slots: int, bytes_max: int = 0) -> None:
        """Begin with nothing."""
        self._room = Room(
            NODES_AHEAD * node.cpu_milli,
            NODES_AHEAD * node.memory_mib,
            UNBOUNDED,
            NODES_AHEAD * node.gpus,
        )
        self._disk_bytes = node.disk_bytes
        self._tasks_max = TASKS_PER_SLOT * slots
        self._bytes_max = bytes_max or UNBOUNDED
        self._held: dict[Hashable, _Held] = {}
        self._passed = 0
        self.size_bytes = 0

    def __len__(self) -> int:
        """Return how many tasks are ahead."""
        return len(self._held)

    @property
    def is_full(self) -> bool:
        """Whether no task can be taken, whatever it needs."""
        return len(self._held) >= self._tasks_max

    def admits(self, need: Need, size: int, free_bytes: int, *, is_best: bool) -> bool:
        """Return whether a task's files may be brought.

        Args:
            need: of the whole task; its disk includes its inputs.
            size: bytes of its inputs.
            free_bytes: what is left of the node's disk.
            is_best: whether no better task waits; one that was passed too often lets none by.
        """
        if not is_best and self._passed >= PASSED_MAX:
            return False
        if self.is_full or not self._room.fits(need) or not self._has_disk(need, size, free_bytes):
            return False
        self._passed = 0 if is_best else self._passed + 1
        return True

    def take(self, key: Hashable, need: Need, size: int) -> None:
        """Count a task that was admitted."""
        self._room, grant = self._room.take(_without_disk(need))
        self._held[key] = _Held(grant, need, size)
        self.size_bytes += size

    def let_go(self, key: Hashable) -> int:
        """Count a task no more: it starts, or never will. Returns the bytes that it held."""
        held = self._held.pop(key)
        self._room = self._room.give_back(held.grant)
        self.size_bytes -= held.size
        return held.size

    def _has_disk(self, need: Need, size: int, free_bytes: int) -> bool:
        """Whether there is disk now, and each task ahead could start beside all the others' files.

        Otherwise two tasks that want the whole disk would wait for each other for ever.
        """
        if size > free_bytes:
            return False
        if self._held and self.size_bytes + size > self._bytes_max:
            return False
        rest = max((one.need.disk_bytes - one.size for one in self._held.values()), default=0)
        return self.size_bytes + size + max(rest, need.disk_bytes - size) <= self._disk_bytes


def moves_ahead(need: Need, size: int) -> bool:
    """Return whether inputs of this size are brought ahead.

    Not where the task did not ask for the disk that they take: it fails, and its slot says why.
    """
    return HOP_BYTES_MIN <= size <= need.disk_bytes


def with_files(need: Need, size: int) -> Need:
    """Return what a task needs beyond its files that are here already."""
    return Need(need.cpu_milli, need.memory_mib, max(0, need.disk_bytes - size), need.gpu_milli)


def _without_disk(need: Need) -> Need:
    return Need(need.cpu_milli, need.memory_mib, 0, need.gpu_milli)
