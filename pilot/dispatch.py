"""Who runs what: free slots, attempts in flight, the room that is left on the node."""

from __future__ import annotations

import logging
import selectors
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from bundle.fates import Fate
from bundle.ids import PilotRun
from bundle.records.attempt import Attempt
from pilot.asking import Asking, NotAsked
from pilot.attempts import OpenShard, Running, ended, lost
from pilot.beside import Beside
from pilot.checkpoints import Checkpoints
from pilot.core.batching import Batching
from pilot.core.fate import Stop, may_be_a_schedulers
from pilot.core.lineage import Place
from pilot.core.lineage import ended as ended_of
from pilot.core.packing import Packing
from pilot.core.provenance import Provenance
from pilot.core.request import Site
from pilot.discovery.system import memory_groups
from pilot.flight import Flight
from pilot.giving import Given, Giving
from pilot.holdings import Held, Holdings
from pilot.recorder import Started
from pilot.slots import Slots, SlotsFailed
from pilot.staging.flow import STAGER, Flow
from pilot.stretching import Stretching
from pilot.watching.free import FreeMemory
from pilot.watching.gpus import Gpus
from pilot.watching.limits import MIB
from pilot.watching.node_watch import NodeWatch
from pilot.watching.watch import NEVER_S

HEARD_TELL_S = 0.9  # so that each telling of a second has figures of its own
DEATHS_MAX = 5  # of one slot in a row, without an attempt that ended in between
LISTEN_S, LISTEN_AGAIN_S = 0.5, 10.0  # for a signal of its own, behind one that ended a task

log = logging.getLogger("pulk.pilot")

OnEnd = Callable[[OpenShard, Attempt, bytes, bytes], None]  # log, time series
OnBegin = Callable[[Started], None]


class Dispatch:
    """The attempts of one pilot.

    `on_begin` is called with attempts before a slot hears of them, `on_end` with each that ended.
    """

    def __init__(
        self,
        slots: Slots,
        selector: selectors.BaseSelector,
        pilot_run: PilotRun,
        site: Site,
        holdings: Holdings,
        packing: Packing,
        on_begin: OnBegin,
        on_end: OnEnd,
        checkpoints: Checkpoints,
        flow: Flow,
    ) -> None:
        """Start with slots that have not said yet how they settled in."""
        self.end_us = 0  # when tasks are stopped: nothing starts that can't end before; 0: never
        self._listen_at_s = 0.0
        self.pilot_told = Stop.NONE  # why a signal told the pilot to end
        self.beside = Beside(checkpoints, Stretching(holdings, slots), packing, pilot_run)
        self.flight = Flight(slots.all)
        self._flow = flow
        self._slots = slots
        self._selector = selector
        self._pilot_run = pilot_run
        self._asking = Asking(site, pilot_run, holdings.node)
        self._provenance = Provenance(site.words())
        self._holding = site.holding
        self._on_begin, self._on_end = on_begin, on_end
        memory_bytes, free = holdings.node.memory_mib * MIB, FreeMemory(memory_groups())
        self.watch = NodeWatch(memory_bytes, free, Gpus(), self._tell)
        self._free: list[int] = []
        self._holdings, self._packing = holdings, packing
        self._deaths = dict.fromkeys(slots.all, 0)
        self._batching = Batching(packing.durations)
        self._giving = Giving(packing, self._batching, flow, len(slots.all))
        self._tell_s = NEVER_S

    @property
    def free(self) -> int:
        """How many slots wait for a task."""
        return len(self._free)

    @property
    def has_free_slot(self) -> bool:
        """Whether a slot waits for a task."""
        return bool(self._free)

    @property
    def awaits_files(self) -> bool:
        """Whether files are on their way for every free slot, or too many behind those that ran."""
        return self._flow.is_full or self._flow.coming >= len(self._free)

    def look_ahead(self, shards: Mapping[int, OpenShard]) -> None:
        """Have large files brought of tasks that start next."""
        if self._packing.lacking:
            self._flow.look_ahead(shards, time.time_ns() // 1000, self.end_us)

    def settle_in(self) -> str:
        """Wait for every slot; return `namespace`, or why a slot has none."""
        for number in self._slots.all:
            self._listen_to(number)
        while waiting := [n for n, slot in self._slots.all.items() if not slot.offline]:
            self.on_ready(waiting[0])
        self._slots.check_isolation(self._holding)
        return self._slots.offline

    def start_some(self, shards: Mapping[int, OpenShard], *, suspects: bool = True) -> bool:
        """Give a free slot its next task, or several short ones; False where there is none.

        `suspects`: whether one may start, for what ended before is durable; else the pilot that it
        takes down would take the record of an innocent one with it.
        """
        now_us = time.time_ns() // 1000
        for shard in shards.values():
            if shard.agenda.due_us:
                shard.agenda.wake(now_us)
        if self._flow.is_full:
            return False
        waits = self.flight.has_suspect or not suspects
        chosen = self._packing.next(
            self.beside.stretching.offered(self._holdings.room),
            now_us,
            end_us=self.end_us,
            suspect_runs=waits,
        )
        if chosen is None:
            return False
        if not (given := self._giving.batch(shards, chosen, now_us, self.end_us)):
            return True
        number = self._free.pop()
        self._send(number, given, self._hold(number, given[0], now_us))
        return True

    def tell_news(self) -> None:
        """Tell what began, and what was handed back, since the last call."""
        if (news := self.flight.news()) is not None:
            self._on_begin(news)

    def stop(
        self,
        stop: Stop,
        evidence: str,
        shard: OpenShard | None = None,
        places: Collection[Place] | None = None,
    ) -> None:
        """Stop whatever runs, or what runs of one shard, or some tasks of that."""
        message = {"stop": str(stop), "evidence": evidence}
        if shard is None:
            self._flow.stop(stop, evidence)
        for number, some in self.flight.by_slot().items():
            if shard is None:
                self._slots.all[number].send(message)
            for running in some if shard is not None else ():
                wanted = places is None or running.start.place in places
                if running.shard is shard and wanted:
                    self._slots.all[number].send(message | {"local": running.local})

    def ask_for_checkpoints(self) -> None:
        """Ask whatever runs and can leave a checkpoint for it."""
        for local, number in self.flight.keepers().items():
            self._slots.all[number].send({"checkpoint": True, "local": local})

    def on_air(self, is_heard: bool) -> None:
        """Let slots say every second what their tasks use, while somebody hears it."""
        self._tell_s = HEARD_TELL_S if is_heard else NEVER_S
        for slot in self._slots.all.values():
            slot.send({"tell_s": self._tell_s})

    def grow(self, *, keeps: bool) -> None:
        """Give idle cores, and memory, to tasks that can use them."""
        self.beside.stretching.grow(keeps=keeps)

    def on_ready(self, number: int) -> None:
        """Take what a slot says, or notice that it died. Raises SlotsFailed."""
        if number == STAGER:
            for one in self._flow.on_ready():
                self._conclude(one.slot, one.running, one.reply)
            return
        slot = self._slots.all[number]
        messages = slot.channel.arrived()
        if messages is None:
            self._replace(number)
            return
        for message in messages:
            if "hello" in message:
                slot.offline, slot.isolation = message["hello"], message["isolation"]
                self._free.append(number)
                if self._tell_s != NEVER_S:
                    slot.send({"tell_s": self._tell_s})
            elif "use" in message:
                self.watch.note(number, message["use"])
            else:
                self._on_report(number, message)

    def _hold(self, number: int, given: Given, now_us: int) -> Held:
        """Take room for a slot; cores of its own only where that is worth telling the kernel."""
        shard, start = given
        is_short = self._batching.is_short((shard.claimed.lease.dataset, start.place[0]))
        pinned = len(self._slots.all) > 1 and not is_short
        self.beside.stretching.make_room(start.need)
        held = self._holdings.take(number, start.need, pinned=pinned)
        took_us = self._packing.took_us(shard.key, start.place[0])
        latest_us = 1000 * start.request.walltime_ms
        self._packing.started(number, held.grant, now_us, took_us, latest_us)
        return held

    def _let_go(self, number: int) -> None:
        self.beside.stretching.end(number)
        self._holdings.let_go(number)
        self._packing.ended(number)

    def _send(self, number: int, given: list[Given], held: Held) -> None:
        """Ask a slot for attempts. One whose request cannot be made ends at once."""
        messages = []
        for shard, start in given:
            running = self.flight.begin(number, shard, start)
            self._flow.began(running)
            try:
                message = self._asking.message(running, held)
            except NotAsked as why:
                self._refuse(number, running, **why.reply)
                continue
            if "keeps" in message or "elastic" in message:
                self.beside.settle(number, running, message, held)
            self._flow.asked(running.local, message)
            messages.append(message)
        self.tell_news()
        if messages:
            self._slots.all[number].send({"tasks": messages})  # a dead slot shows by its end
        else:
            self._set_free(number)

    def _refuse(self, number: int, running: Running, **reply: Any) -> None:
        """End an attempt that no slot was asked for."""
        attempt = ended(running, {"signal": 0, **reply}, number, self._provenance)
        self._end(number, running, attempt, b"")

    def _on_report(self, number: int, message: dict[str, Any]) -> None:
        self._deaths[number] = 0
        self.watch.ended(number)
        for reply in message["ended"]:
            running = self.flight.running[reply["local"]]
            if "handed" in reply:
                self.flight.leave_slot(number, running)
                self._flow.leave(number, running, reply)
            else:
                self._conclude(number, running, reply)
        for local in message["back"]:
            self._hand_back(number, self.flight.running[local])
        if not self.flight.in_slot(number):
            self._set_free(number)

    def _conclude(self, number: int, running: Running, reply: dict[str, Any]) -> None:
        """End an attempt that a slot reported, and whose outputs are kept."""
        if "stage_out" in reply:
            self._flow.forget(running.local)
        told = self._told(reply)
        attempt = ended(running, reply, number, self._provenance, pilot_told=told)
        if attempt.fate is Fate.SUCCESS:
            took_us = attempt.ended_mono_us - attempt.started_mono_us
            self._packing.durations.note(running.kind, took_us / 1_000_000)
        self.beside.ended(running, attempt, reply)
        self._end(number, running, attempt, reply.get("log", b""), reply.get("series", b""))

    def _told(self, reply: Mapping[str, Any]) -> Stop:
        """Return why the pilot was told to end; where a signal ended a task, its own may follow.

        A scheduler signals all processes of a batch job in an order of its own. Waited for now and
        then only: tasks that kill themselves must not hold the pilot up.
        """
        if reply.get("stop") or not may_be_a_schedulers(reply["exit_code"], reply["signal"]):
            return self.pilot_told
        now_s = time.monotonic()
        if now_s >= self._listen_at_s:
            self._listen_at_s = now_s + LISTEN_AGAIN_S
            while self.pilot_told is Stop.NONE and time.monotonic() < now_s + LISTEN_S:
                time.sleep(LISTEN_S / 20)
        return self.pilot_told

    def _replace(self, number: int) -> None:
        """Start a new slot for one that died; it becomes free when it says hello.

        Of a batch the first unreported attempt is taken for the one that ran; from then on tasks
        of its kinds come alone, so that another death blames the right one.
        """
        self._selector.unregister(self._slots.all[number].channel.socket)
        how = self._slots.replace(number)
        self._listen_to(number)
        if number in self._free:
            self._free.remove(number)
        self.watch.ended(number)
        attempts = self.flight.in_slot(number)
        self._deaths[number] = 0 if attempts else self._deaths[number] + 1
        for place, running in enumerate(attempts):
            self._batching.distrust(running.kind)
            self._flow.forget(running.local)
            if place == 0:
                self._end(number, running, lost(running, how, number), b"")
            else:
                self._hand_back(number, running)
        self._let_go(number)
        if self._deaths[number] >= DEATHS_MAX:
            raise SlotsFailed(slot=number, deaths=DEATHS_MAX, how=how)

    def _listen_to(self, number: int) -> None:
        channel = self._slots.all[number].channel
        self._selector.register(channel.socket, selectors.EVENT_READ, number)

    def _tell(self, number: int, message: dict[str, Any]) -> None:
        self._slots.all[number].send(message)

    def _end(
        self, number: int, running: Running, attempt: Attempt, text: bytes, series: bytes = b""
    ) -> None:
        self.flight.end(number, running)
        agenda, place = running.shard.agenda, running.start.place
        agenda.ended(place, ended_of(attempt, self._pilot_run), attempt.outputs)
        self._on_end(running.shard, attempt, text + self._flow.told(running.local), series)

    def _hand_back(self, number: int, running: Running) -> None:
        self.flight.hand_back(number, running)
        self._flow.forget(running.local)
        running.shard.agenda.put_back(running.start.place)

    def _set_free(self, number: int) -> None:
        self._let_go(number)
        self._free.append(number)
