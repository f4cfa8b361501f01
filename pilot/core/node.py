"""What a pilot knows of its node: frozen facts, and how several hints become one truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil

from pilot.core.container import Runtime
from pilot.core.room import WHOLE, Room

NO_LIMIT = 1 << 62  # control groups say "no limit" with a huge number


@dataclass(frozen=True, slots=True)
class Core:
    """One cpu by the kernel's number, and the NUMA node that its memory is near to."""

    number: int
    numa: int = 0


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device that can be masked: a whole GPU, or a MIG instance of one.

    `uuid` is what CUDA_VISIBLE_DEVICES or ROCR_VISIBLE_DEVICES takes; `mig` is the profile's name,
    empty for a whole GPU; `numa` is -1 where it is unknown; `memory_mib` is 0 where it is.
    """

    uuid: str
    model: str
    memory_mib: int = 0
    mig: str = ""
    vendor: str = "nvidia"
    index: int = 0  # of the GPU among those that the driver shows
    numa: int = -1


@dataclass(frozen=True, slots=True)
class Scratch:
    """A folder for what tasks write, the type of its filesystem, and the bytes free there."""

    path: str
    filesystem: str = ""
    free_bytes: int = 0
    is_ram: bool = False
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """What the scheduler told this batch job. 0, empty and None: it did not say.

    `gpus` are the words of an assignment: indexes or UUIDs, whole or shortened; none of them is an
    assignment of nothing.
    """

    scheduler: str = ""
    batch_id: str = ""
    restarts: int = 0
    cpus: int = 0
    memory_mib: int = 0
    disk_bytes: int = 0
    end_us: int = 0
    gpus: tuple[str, ...] | None = None
    scratch: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """What this pilot may use of its node.

    `cpu_milli` may be less than the cores add up to: a quota, or a scheduler that counts cores and
    binds nobody; then `may_pin` is false, for others run on the same cores. `memory_mib` is the
    least of all limits. `disk_bytes` are free in `scratch`; where that is RAM, they are part of the
    memory. `end_us` is UTC microseconds, 0 unknown. `notes` are words for people.
    """

    cores: tuple[Core, ...]
    cpu_milli: int
    memory_mib: int
    swap_mib: int = 0
    scratch: Scratch = Scratch("")
    disk_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()
    batch: Batch = Batch()
    end_us: int = 0
    may_pin: bool = True
    notes: tuple[str, ...] = ()
    containers: Runtime = field(default_factory=Runtime)

    def room_on(self, disk_bytes: int) -> Room:
        """Return the room for tasks that write where so many bytes are free."""
        gpus = (WHOLE,) * len(self.gpus)
        return Room(self.cpu_milli, self.memory_mib, disk_bytes, gpus)

    @property
    def numa_nodes(self) -> int:
        """How many NUMA nodes the cores are of."""
        return len({core.numa for core in self.cores})


def cpu_milli(cores: Sequence[Core], quotas_milli: Iterable[int], batch_cpus: int) -> int:
    """Return the milli-cores to use: affinity, quotas and the scheduler's number, the least."""
    limits = [len(cores) * 1000, *(one for one in quotas_milli if one > 0)]
    if batch_cpus:
        limits.append(batch_cpus * 1000)
    return max(1, min(limits))


def may_pin(cores: Sequence[Core], milli: int) -> bool:
    """Return whether all the cores are ours, so that binding a task to some shuts out nobody."""
    return ceil(milli / 1000) >= len(cores)


def least(*limits: int) -> int:
    """Return the least of the limits that are told; 0 where none is."""
    told = [one for one in limits if 0 < one < NO_LIMIT]
    return min(told, default=0)


def narrowed(
    gpus: Sequence[Gpu], words: tuple[str, ...] | None, scheduler: str
) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """Return the GPUs that the assignment leaves, and a note where it can't be followed.

    A device that may be another batch job's is never taken: what is assigned and not found leaves
    nothing in its place, and a scheduler that assigned nothing leaves none.
    """
    if words is None:
        if not scheduler or not gpus:
            return tuple(gpus), ()
        return (), (f"{scheduler} assigned none of the {len(gpus)} GPUs that are visible",)
    kept: list[Gpu] = []
    missing: list[str] = []
    for word in words:
        found = _named(gpus, word)
        if not found:
            missing.append(word)
        kept += [one for one in found if one not in kept]
    if missing and len(words) == len({one.index for one in gpus}) and _all_numbers(words):
        return tuple(gpus), ()  # numbered over the whole node, and only these are visible
    if missing:
        return tuple(kept), (f"GPUs assigned but not found: {' '.join(missing)[:200]}",)
    return tuple(kept), ()


def _named(gpus: Sequence[Gpu], word: str) -> list[Gpu]:
    if word.isascii() and word.isdecimal() and len(word) < 10:
        found = [one for one in gpus if one.index == int(word)]
        return found if len(found) == 1 else []  # a number does not say which MIG instance
    found = [one for one in gpus if one.uuid == word]
    if not found and len(word) >= 8:  # HTCondor and people shorten a UUID
        found = [one for one in gpus if one.uuid.lower().startswith(word.lower())]
        found = found if len(found) == 1 else []
    return found


def _all_numbers(words: Sequence[str]) -> bool:
    return all(word.isascii() and word.isdecimal() for word in words) and len(set(words)) == len(
        words
    )
