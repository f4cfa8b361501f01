"""What goes on which medium. Pure: sizes in, loads out.

Results first, then reports, telemetry, bulk; within a rank what was carried least often, then the
oldest numbers. What does not fit whole is split at chunks and goes on with the next medium. What
was carried before and is still to be carried gets a second copy, then a third, where there is
room: a medium that loses a third of its files is then survived within a few trips.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bundle.intervals import IntervalSet
from bundle.limits import GIB, MIB
from bundle.media.carried import NEVER, Carriage, Carried
from bundle.media.errors import PartTooSmall
from bundle.media.facts import Facts, importance, rank

PART_BYTES_MAX = 2 * GIB - 1 * MIB  # the oldest FAT ends at 2 GiB, FAT32 at 4 GiB
SPLIT_BYTES_MIN = 64 * MIB  # smaller ones wait for the next medium rather than be split
COPIES_MAX = 5
COPY_BYTES_MAX = 256 * MIB  # larger bundles are carried once a round


@dataclass(frozen=True, slots=True)
class Ware:
    """A bundle that is to be carried: stored bytes of the chunks that this copy holds, by place."""

    facts: Facts
    file_bytes: int
    head_bytes: int  # all that comes before the chunks
    sizes: Mapping[int, int]

    @property
    def places(self) -> IntervalSet:
        """The chunks that there are to carry."""
        return IntervalSet.of(self.sizes)


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that a medium takes now and when it is empty, and the most for one file."""

    free_bytes: int
    empty_bytes: int
    file_bytes_max: int = PART_BYTES_MAX
    block_bytes: int = 4096

    def cost(self, size_bytes: int) -> int:
        """Return what a file takes: whole blocks, and one for its name."""
        return (-(-size_bytes // self.block_bytes) + 1) * self.block_bytes

    def largest(self, free_bytes: int) -> int:
        """Return the size of the largest file that fits."""
        inside = free_bytes // self.block_bytes * self.block_bytes - self.block_bytes
        return min(self.file_bytes_max, inside)


@dataclass(frozen=True, slots=True)
class Load:
    """One file for a medium: a bundle whole (`keep` is None) or a part with some chunks."""

    ware: Ware
    keep: IntervalSet | None
    size_bytes: int
    copy: int = 1

    @property
    def places(self) -> IntervalSet:
        """The chunks in it."""
        return self.ware.places if self.keep is None else self.keep

    @property
    def name(self) -> str:
        """Its file name: lower-case hex, digits and dashes, unlike any other load's."""
        part = "" if self.keep is None else f"-p{self.keep.spans[0][0]}"
        copy = f"-c{self.copy}" if self.copy > 1 else ""
        return f"{self.ware.facts.id}{part}{copy}.pulk"


@dataclass(frozen=True, slots=True)
class Left:
    """What must go with another medium: these chunks, or all of it where there are none.

    `need_bytes` is 0, or the size of the part without which it can go on no such medium.
    """

    ware: Ware
    places: IntervalSet
    need_bytes: int = 0


@dataclass(slots=True)
class Plan:
    """The files for one medium, in the order in which to write them, and what is left."""

    loads: list[Load] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)


def plan_loads(wares: Iterable[Ware], carried: Carried, room: Room) -> Plan:
    """Return what to write to a medium."""
    ordered = sorted(wares, key=lambda ware: _order(ware, carried))
    filling = _Filling(room, room.free_bytes)
    for ware in ordered:
        filling.add(ware, carried.get(ware.facts.id, NEVER))
    filling.add_copies(carried)
    return filling.plan


def plan_parts(ware: Ware, size_max: int) -> list[IntervalSet | None]:
    """Return the chunks of each part of at most `size_max` bytes; None: whole. Raises PartTooSmall.

    The parts together hold all chunks, each once.
    """
    if ware.file_bytes <= size_max:
        return [None]
    place, need = largest_chunk(ware)
    if need > size_max:
        where = f"bundle {ware.facts.id}"
        raise PartTooSmall(where=where, size=size_max, place=place, need=need)
    parts: list[IntervalSet | None] = []
    todo = ware.places
    while len(todo):
        part = _first_places(ware, todo, size_max)
        parts.append(part)
        todo = todo - part
    return parts


def largest_chunk(ware: Ware) -> tuple[int, int]:
    """Return the place of the largest chunk, and the size of a part with it alone."""
    place = max(ware.sizes, key=lambda one: ware.sizes[one], default=0)
    return place, ware.head_bytes + ware.sizes.get(place, 0)


def part_bytes(ware: Ware, keep: IntervalSet) -> int:
    """Return the size of a part."""
    return ware.head_bytes + sum(ware.sizes[place] for place in keep)


class _Filling:
    """A medium while it is filled."""

    def __init__(self, room: Room, free_bytes: int) -> None:
        self.plan = Plan()
        self._room, self._free = room, free_bytes
        self._has_split = False  # one bundle at most is split for want of room

    def add(self, ware: Ware, before: Carriage) -> None:
        todo = ware.places - before.places
        size, room = ware.file_bytes, self._room
        is_begun = len(before.places) > 0
        too_large = size > room.largest(room.empty_bytes)
        if not is_begun and not too_large and room.cost(size) <= self._free:
            self._put(Load(ware, None, size))
        elif is_begun or too_large or (size >= SPLIT_BYTES_MIN and not self._has_split):
            self._split(ware, todo)
        else:
            self.plan.left.append(Left(ware, IntervalSet()))

    def add_copies(self, carried: Carried) -> None:
        """Lay once more what was carried before, as often as it was, room allowing."""
        first = list(self.plan.loads)
        for copy in range(2, COPIES_MAX + 1):
            for load in first:
                times = carried.get(load.ware.facts.id, NEVER).times
                if times >= copy - 1 and load.ware.file_bytes <= COPY_BYTES_MAX:
                    again = Load(load.ware, load.keep, load.size_bytes, copy)
                    if self._room.cost(load.size_bytes) <= self._free:
                        self._put(again)

    def _split(self, ware: Ware, todo: IntervalSet) -> None:
        need = largest_chunk(ware)[1]
        if not ware.sizes or need > self._room.largest(self._room.empty_bytes):
            self.plan.left.append(Left(ware, todo, max(need, ware.head_bytes)))
            return
        while len(todo):
            part = _first_places(ware, todo, self._room.largest(self._free))
            if not len(part):
                break
            self._put(Load(ware, part, part_bytes(ware, part)))
            todo = todo - part
        if len(todo):
            self._has_split = True
            self.plan.left.append(Left(ware, todo))

    def _put(self, load: Load) -> None:
        self.plan.loads.append(load)
        self._free -= self._room.cost(load.size_bytes)


def _order(ware: Ware, carried: Carried) -> tuple[object, ...]:
    times = carried.get(ware.facts.id, NEVER).times
    return rank(ware.facts.kind), times, importance(ware.facts)


def _first_places(ware: Ware, todo: IntervalSet, size_max: int) -> IntervalSet:
    """Return as many of the first places as a part of that size holds."""
    size, count = ware.head_bytes, 0
    for place in todo:
        size += ware.sizes[place]
        if size > size_max:
            break
        count += 1
    return todo.take(count)
