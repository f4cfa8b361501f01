"""What is on its way: inputs of tasks that start next, outputs of tasks that ended.

A task whose large inputs are not here lies in packing as one that lacks files; the best of them
are brought as far as `Ahead` lets them. An attempt whose large outputs were handed on has left its
slot, but ends only when the stager says that they are durable.
"""

from __future__ import annotations

import logging
import selectors
import shutil
from collections.abc import Mapping
from typing import Any

from pilot.attempts import OpenShard, Running
from pilot.core.ahead import Ahead, Staging
from pilot.core.fate import Stop
from pilot.core.packing import Chosen, Packing
from pilot.core.room import Need
from pilot.holdings import Holdings
from pilot.slots import Slots
from pilot.staging.child import Child, Places
from pilot.staging.orders import Inward, Outward

STAGER = -1  # its number among the slots, for the selector
DEATHS_MAX = 5  # in a row, without a transfer that ended in between
GIVE_UP_S = 10.0  # for outputs, once all that runs is stopped: tasks have half of it to end
LOOK_US = 1_000_000

log = logging.getLogger("pulk.pilot")


class Flow:
    """The files of one pilot that are on their way."""

    def __init__(
        self,
        places: Places,
        staging: Staging,
        slots: Slots,
        holdings: Holdings,
        packing: Packing,
        selector: selectors.BaseSelector,
    ) -> None:
        """Start nothing: the stager comes with the first large file."""
        self._places, self._slots, self._selector = places, slots, selector
        self._holdings, self._packing = holdings, packing
        self._child = Child(places, staging)
        count = len(slots.all)
        self._ahead = Ahead(holdings.node, count, staging.ahead_bytes_max)
        self._leaving_max = 2 * count
        self._numbers = self._deaths = 0
        self._coming: dict[int, Inward] = {}
        self._here: dict[Chosen, Inward] = {}
        self._starting: dict[Chosen, Inward] = {}
        self._given_up: set[Chosen] = set()
        self._next_look_us = 0
        self._stopped: tuple[Stop, str] | None = None
        self._of_attempt: dict[int, Inward] = {}  # by local number
        self._leaving: dict[int, Outward] = {}
        self._moved = {"in": [0, 0, 0], "out": [0, 0, 0]}  # tasks, bytes, ms

    # -- inputs --------------------------------------------------------------------------

    @property
    def coming(self) -> int:
        """How many tasks' files are on their way."""
        return len(self._coming)

    @property
    def is_full(self) -> bool:
        """Whether so many outputs wait to be kept that nothing more should start."""
        return len(self._leaving) >= self._leaving_max

    def is_coming(self, shard: OpenShard) -> bool:
        """Whether files of a shard are on their way."""
        return any(one.shard is shard for one in self._coming.values())

    def look_ahead(self, shards: Mapping[int, OpenShard], now_us: int, end_us: int) -> None:
        """Order what should be here next."""

        def may(chosen: Chosen, need: Need, is_best: bool) -> bool:
            size = shards[chosen[0]].agenda.inputs_bytes(chosen[1:])
            free_bytes = self._holdings.room.disk_bytes
            return self._ahead.admits(need, size, free_bytes, is_best=is_best)

        if not self._packing.stages:
            while chosen := self._packing.next_to_bring(lambda *_: True, now_us, end_us):
                shards[chosen[0]].agenda.arrived(chosen[1:], 0)
            return
        if now_us >= self._next_look_us:
            self._next_look_us = now_us + LOOK_US
            self._give_up_late(now_us, end_us)
        while self._packing.lacking and not self._ahead.is_full:
            chosen = self._packing.next_to_bring(may, now_us, end_us)
            if chosen is None:
                return
            self._order(shards[chosen[0]], chosen)

    def is_lost(self, chosen: Chosen) -> bool:
        """Whether the files of a task to start were given up meanwhile: it must wait again."""
        if chosen in self._given_up:
            self._given_up.discard(chosen)
            return True
        return False

    def starts(self, chosen: Chosen) -> None:
        """Let a task have the disk that its files take already."""
        found = self._here.pop(chosen, None)
        if found is not None:
            self._let_go(chosen)
            self._starting[chosen] = found

    def began(self, running: Running) -> None:
        """Take note which attempt of a task starts."""
        if self._starting:
            found = self._starting.pop((running.shard.key, *running.start.place), None)
            if found is not None:
                self._of_attempt[running.local] = found

    def asked(self, local: int, message: dict[str, Any]) -> None:
        """Tell a slot which of a task's files are here, and what it does itself."""
        if local in self._of_attempt:
            message["brought"] = self._of_attempt[local].number
        if not self._packing.stages:
            message["keeps_itself"] = True

    def told(self, local: int) -> bytes:
        """Return a line for the log of an attempt that ended, if its files were brought."""
        found = self._of_attempt.pop(local, None)
        if found is None:
            return b""
        shutil.rmtree(self._places.brought / str(found.number), ignore_errors=True)
        return found.told()

    def forget(self, local: int) -> None:
        """Remove what an attempt handed on that has no outputs, or never began."""
        shutil.rmtree(self._places.handed / str(local), ignore_errors=True)
        self.told(local)

    def drop(self, shard: OpenShard) -> None:
        """Give up all that was brought of a shard: it is sealed."""
        for found in [one for one in self._coming.values() if one.shard is shard]:
            del self._coming[found.number]
            self._let_go((shard.key, *found.place))
            self._child.send({"drop": found.number})
        for chosen, found in [*self._here.items()]:
            if found.shard is shard:
                self._give_up(chosen)
        self._given_up = {one for one in self._given_up if one[0] != shard.key}

    def _order(self, shard: OpenShard, chosen: Chosen) -> None:
        place = chosen[1:]
        size = shard.agenda.inputs_bytes(place)
        self._ahead.take(chosen, shard.agenda.need(place), size)
        self._holdings.set_aside(size)
        self._numbers += 1
        found = self._coming[self._numbers] = Inward(self._numbers, shard, place, size)
        self._send(found.order())

    def _arrived(self, found: Inward, reply: Mapping[str, Any]) -> None:
        """Let a task start. Where its files could not be brought, its slot says why not."""
        chosen = (found.shard.key, *found.place)
        if "why" in reply:
            log.warning("inputs not brought", extra={"reason": reply["why"]})
            self._let_go(chosen)
            found.shard.agenda.arrived(found.place, 0)
            return
        found.took_ms = reply["took_ms"]
        self._count("in", found.size, found.took_ms)
        self._here[chosen] = found
        found.shard.agenda.arrived(found.place, found.size)

    def _give_up_late(self, now_us: int, end_us: int) -> None:
        """Give up what can't be started any more before the end, for what still can."""
        for chosen, found in [*self._here.items()]:
            if not found.shard.agenda.is_in_time(found.place, now_us, end_us):
                self._give_up(chosen)
                self._given_up.add(chosen)

    def _give_up(self, chosen: Chosen) -> None:
        found = self._here.pop(chosen)
        self._let_go(chosen)
        self._child.send({"drop": found.number})

    def _let_go(self, chosen: Chosen) -> None:
        self._holdings.set_aside(-self._ahead.let_go(chosen))

    # -- outputs -------------------------------------------------------------------------

    def leave(self, slot: int, running: Running, reply: dict[str, Any]) -> None:
        """Order that the outputs of an attempt are kept; it ends with that."""
        one = self._leaving[running.local] = Outward(slot, running, reply)
        self._holdings.set_aside(one.size)
        self._send(one.order())

    def stop(self, stop: Stop, evidence: str) -> None:
        """Let what is leaving have a moment more."""
        self._stopped = (stop, evidence)
        self._child.send({"give_up_s": GIVE_UP_S})

    def _kept(self, one: Outward, answer: Mapping[str, Any]) -> None:
        reply = one.reply
        self._holdings.set_aside(-one.size)
        if "outputs" in answer:
            reply["outputs"] = answer["outputs"]
            self._count("out", one.size, answer["took_ms"])
            reply["log"] = reply.get("log", b"") + one.told(answer["took_ms"])
        elif answer.get("late") and self._stopped is not None:
            reply["stop"], evidence = str(self._stopped[0]), self._stopped[1]
            reply["stop_evidence"] = f"{evidence}; its outputs were not kept in time"
            reply["unkept"] = True
        else:
            reply["stage_out"] = answer.get("why", "nobody could keep the outputs")
        if "disk_failed" in answer:
            reply["disk_failed"] = answer["disk_failed"]

    # -- the stager ----------------------------------------------------------------------

    def on_ready(self) -> list[Outward]:
        """Take what the stager says, or notice that it died; return which attempts end."""
        channel = self._child.channel
        messages = None if channel is None else channel.arrived()
        if messages is None:
            return self._replace()
        ended = []
        for message in messages:
            self._deaths = 0
            if "brought" in message:
                found = self._coming.pop(message["brought"], None)
                if found is not None:
                    self._arrived(found, message)
            elif (one := self._leaving.pop(message["kept"], None)) is not None:
                self._kept(one, message)
                ended.append(one)
        return ended

    def close(self) -> None:
        """Let the stager go."""
        if self._child.channel is not None:
            self._slots.spared.discard(self._child.pid)
            self._child.end()
            facts = {
                f"{way}_{name}": figure
                for way, figures in self._moved.items()
                for name, figure in zip(("tasks", "bytes", "ms"), figures, strict=True)
            }
            log.info("files moved beside tasks", extra=facts)

    def _send(self, order: dict[str, Any]) -> None:
        if self._child.channel is None:
            self._start()
        self._child.send(order)

    def _start(self) -> None:
        channel = self._child.start()
        self._slots.spared.add(self._child.pid)
        self._selector.register(channel.socket, selectors.EVENT_READ, STAGER)

    def _replace(self) -> list[Outward]:
        """Start another stager and order again all that was under way."""
        if self._child.channel is not None:
            self._selector.unregister(self._child.channel.socket)
        self._slots.spared.discard(self._child.pid)
        self._deaths += 1
        log.warning("stager ended", extra={"how": self._child.end(), "deaths": self._deaths})
        if self._deaths >= DEATHS_MAX:
            return self._go_without()
        self._start()
        for found in self._coming.values():
            self._child.send(found.order())
        for one in self._leaving.values():
            self._child.send(one.order())
        if self._stopped is not None:
            self._child.send({"give_up_s": GIVE_UP_S})
        return []

    def _go_without(self) -> list[Outward]:
        """Leave all files to the slots: a stager dies here as soon as it works."""
        log.error("no stager can work here: slots move all files themselves")
        self._packing.stages = False
        for found in [*self._coming.values()]:
            del self._coming[found.number]
            self._arrived(found, {"why": "the stager died"})
        ended = [*self._leaving.values()]
        self._leaving.clear()
        for one in ended:
            self._kept(one, {"why": f"the stager died {DEATHS_MAX} times"})
        return ended

    def _count(self, way: str, size: int, took_ms: int) -> None:
        figures = self._moved[way]
        figures[0] += 1
        figures[1] += size
        figures[2] += took_ms
