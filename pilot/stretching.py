"""Elastic tasks in slots: what each has beyond its request, and who is told when that changes."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace

from bundle.dataset.abilities import Elastic
from pilot.core import grants
from pilot.core.asides import granted
from pilot.core.grants import Stretch
from pilot.core.room import Need, Room
from pilot.holdings import Holdings
from pilot.slots import Slots

log = logging.getLogger("pulk.pilot")


@dataclass(slots=True)
class _Task:
    local: int
    stretch: Stretch
    done_us: int  # when it will be done, as far as is known: UTC


class Stretching:
    """The elastic tasks that run. Costs nothing where there are none."""

    def __init__(self, holdings: Holdings, slots: Slots) -> None:
        """Begin with none."""
        self._holdings, self._slots = holdings, slots
        self._tasks: dict[int, _Task] = {}

    def begin(self, slot: int, local: int, need: Need, elastic: Elastic, done_us: int) -> None:
        """Take note of an elastic task in a slot."""
        node = self._holdings.node
        stretch = Stretch(
            slot,
            need,
            min(elastic.cpu_milli_max, node.cpu_milli),
            min(elastic.memory_mib_max, node.memory_mib),
            elastic.shrinks,
            0,
        )
        self._tasks[slot] = _Task(local, stretch, done_us)

    def end(self, slot: int) -> None:
        """Forget the task in a slot, if it is one; what it held goes back with the slot's."""
        self._tasks.pop(slot, None)

    def offered(self, room: Room) -> Room:
        """Return the room that a new task could have, with what would come back for it."""
        if not self._tasks:
            return room
        back = grants.returnable(one.stretch for one in self._tasks.values())
        return replace(room, cpu_milli=room.cpu_milli + back)

    def make_room(self, need: Need) -> None:
        """Take back what a new task needs of the cores given away."""
        missing = need.cpu_milli - self._holdings.room.cpu_milli
        if missing > 0 and self._tasks:
            for one in grants.taken_back(missing, self._now()):
                self._change(one)

    def grow(self, *, keeps: bool) -> None:
        """Give away what is idle; `keeps`: nothing will want it any more."""
        if self._tasks:
            for one in grants.grown(self._holdings.room, self._now(), keeps=keeps):
                self._change(one)

    def _now(self) -> list[Stretch]:
        now_us = time.time_ns() // 1000
        return [
            replace(one.stretch, left_us=max(one.done_us - now_us, 0))
            for one in self._tasks.values()
        ]

    def _change(self, stretch: Stretch) -> None:
        task = self._tasks[stretch.slot]
        cpus = self._holdings.extend(stretch.slot, stretch.cpu_milli, stretch.memory_mib)
        task.stretch = stretch
        grant = granted(cpus, *stretch.in_all)
        self._slots.all[stretch.slot].send({"grant": grant, "local": task.local})
        log.info("task resized", extra={"slot": stretch.slot, "cpu_milli": grant["cpu_milli"]})
