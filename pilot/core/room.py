"""The room of a node: what tasks need of it, what they were granted, and what is left.

Cores and memory are amounts; a GPU is a device, for half of one here and half of one there is no
whole. All values are frozen: taking makes a smaller room, giving back a larger one.
"""

from __future__ import annotations

from dataclasses import dataclass

from bundle.dataset.spec import Request

WHOLE = 1000  # milli-shares of one GPU
UNBOUNDED = 2**62  # bytes of disk, where nobody said how many there are

Share = tuple[int, int]
"""A device's index on the node, and milli-shares of it."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one task needs of a node, in milli-cores, MiB, bytes and milli-shares of GPUs."""

    cpu_milli: int
    memory_mib: int
    disk_bytes: int = 0
    gpu_milli: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """What a task was granted: its need, and which shares of which GPUs."""

    need: Need
    shares: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True)
class Room:
    """A node, or what is left of it. `gpus` holds the free milli-shares of each device."""

    cpu_milli: int
    memory_mib: int
    disk_bytes: int = UNBOUNDED
    gpus: tuple[int, ...] = ()

    def fits(self, need: Need) -> bool:
        """Return whether a task with this need can start now."""
        return (
            need.cpu_milli <= self.cpu_milli
            and need.memory_mib <= self.memory_mib
            and need.disk_bytes <= self.disk_bytes
            and (not need.gpu_milli or self._shares(need.gpu_milli) is not None)
        )

    def take(self, need: Need) -> tuple[Room, Grant]:
        """Return the room without what is needed, and what was taken. Raises ValueError.

        A share of one GPU comes from the device that has least left beside it, so that whole ones
        stay whole; more than one GPU is that many whole devices.
        """
        shares = self._shares(need.gpu_milli) if need.gpu_milli else ()
        if shares is None or not self.fits(need):
            raise ValueError(f"{need} does not fit into {self}")
        return self._moved(need, shares, -1), Grant(need, shares)

    def give_back(self, grant: Grant) -> Room:
        """Return the room with what was taken."""
        return self._moved(grant.need, grant.shares, 1)

    def _moved(self, need: Need, shares: tuple[Share, ...], sign: int) -> Room:
        gpus = self.gpus
        if shares:
            changed = list(gpus)
            for device, milli in shares:
                changed[device] += sign * milli
            gpus = tuple(changed)
        return Room(
            self.cpu_milli + sign * need.cpu_milli,
            self.memory_mib + sign * need.memory_mib,
            self.disk_bytes + sign * need.disk_bytes,
            gpus,
        )

    def _shares(self, milli: int) -> tuple[Share, ...] | None:
        """Return which shares would be given, or None where there are not enough."""
        if milli <= WHOLE:
            enough = [(free, device) for device, free in enumerate(self.gpus) if free >= milli]
            return ((min(enough)[1], milli),) if enough else None
        many = -(-milli // WHOLE)
        whole = [device for device, free in enumerate(self.gpus) if free == WHOLE]
        return tuple((device, WHOLE) for device in whole[:many]) if len(whole) >= many else None


def wanted(request: Request, node: Room) -> Need:
    """Return what a task needs of a node.

    One that asks for more than the whole node gets the whole node and runs alone: requests are
    often too high, and a task that nobody starts is worse than a slow one. Not so with GPUs: who
    asks for one where there is none, or for more than there are, cannot run here at all.
    """
    return Need(
        min(request.cpu_milli, node.cpu_milli),
        min(request.memory_mib, node.memory_mib),
        min(request.disk_bytes, node.disk_bytes),
        request.gpu_milli,
    )
