"""Who runs what: free slots, attempts in flight, the room that is left on the node."""

from __future__ import annotations

import logging
import selectors
import time
from collections.abc import Callable, Iterable
from typing import Any

from bundle.errors import PulkError
from bundle.ids import PilotRun
from bundle.records.attempt import Attempt
from pilot.attempts import OpenShard, Running, asked, begun, ended, lost
from pilot.core.agenda import Start, State
from pilot.core.batching import Durations
from pilot.core.fate import Stop
from pilot.core.holding import ISOLATED, Isolation, allows
from pilot.core.lineage import ended as ended_of
from pilot.core.packing import Room
from pilot.core.request import Site, request
from pilot.offline import NAMESPACE
from pilot.recorder import Started
from pilot.slots import Slots

DEATHS_MAX = 5  # of one slot in a row, without an attempt that ended in between

log = logging.getLogger("pulk.pilot")

OnEnd = Callable[[OpenShard, Attempt, bytes], None]


class SlotsFailed(PulkError):
    """A slot's process dies as soon as it starts: this node cannot run tasks. Try another one.

    The pilot's standard error says what the slot's last words were.
    """

    code = "slots-failed"
    transient = True
    what = "slot {slot} died {deaths} times in a row ({how})"
    remedy = "look at the pilot's standard error; another node may be better"


class IsolationMissing(PulkError):
    """The site demands that tasks are isolated, and this node cannot do that.

    Try another node, let its administrator allow user namespaces, or set `[tasks] isolation`.
    """

    code = "isolation-missing"
    what = "tasks can't be isolated here ({reason})"
    remedy = 'allow user namespaces on the node, or set [tasks] isolation = "auto"'


class Dispatch:
    """The attempts of one pilot. `on_end` is called with every attempt that ended."""

    def __init__(
        self,
        slots: Slots,
        selector: selectors.BaseSelector,
        pilot_run: PilotRun,
        site: Site,
        node: Room,
        on_end: OnEnd,
    ) -> None:
        """Start with slots that have not said yet how they settled in."""
        self.running: dict[int, Running] = {}
        self._suspects: set[int] = set()  # of those that run; see `retry.is_suspect`
        self._started = Started()
        self._slots = slots
        self._selector = selector
        self._pilot_run = pilot_run
        self._variables = site.variables()
        self._holding = site.holding
        self._node = self._room = node
        self._on_end = on_end
        self._free: list[int] = []
        self._in_slot: dict[int, list[int]] = {number: [] for number in slots.all}
        self._rooms: dict[int, Room] = {}
        self._deaths = dict.fromkeys(slots.all, 0)
        self._durations = Durations()
        self._local = 0

    @property
    def has_free_slot(self) -> bool:
        """Whether a slot waits for a task."""
        return bool(self._free)

    def settle_in(self) -> str:
        """Wait for every slot; return `namespace`, or why a slot has none."""
        for number in self._slots.all:
            self._listen_to(number)
        while waiting := [n for n, slot in self._slots.all.items() if not slot.offline]:
            self.on_ready(waiting[0])
        self._check_isolation()
        words = [slot.offline for slot in self._slots.all.values()]
        return next((word for word in words if word != NAMESPACE), NAMESPACE)

    @property
    def isolation(self) -> str:
        """How tasks are held: `isolated`, or `plain: <reason>` of a slot."""
        words = [slot.isolation for slot in self._slots.all.values()]
        return next((word for word in words if word != ISOLATED), ISOLATED)

    def _check_isolation(self) -> None:
        """Raise IsolationMissing where the site demands what does not work here."""
        if self._holding.isolation is Isolation.REQUIRED and self.isolation != ISOLATED:
            raise IsolationMissing(reason=self.isolation)

    def start_some(self, shards: Iterable[OpenShard]) -> bool:
        """Give a free slot its next task, or several short ones; False where there is none."""
        now_us = time.time_ns() // 1000
        for shard in shards:
            may_start = shard.may_start(now_us)
            start = self._next(shard, self._room, now_us) if may_start else None
            if start is not None:
                number = self._free.pop()
                self._room = self._room.less(start.room)
                self._rooms[number] = start.room
                self._send(number, shard, self._batch(shard, start, now_us))
                return True
        return False

    def take_started(self) -> Started | None:
        """Return what began, and what was handed back, since the last call; None for nothing."""
        if not (self._started.begun or self._started.back):
            return None
        news, self._started = self._started, Started()
        return news

    def stop(self, stop: Stop, evidence: str) -> None:
        """Stop whatever runs."""
        for number, attempts in self._in_slot.items():
            if attempts:
                self._slots.all[number].send({"stop": str(stop), "evidence": evidence})

    def on_ready(self, number: int) -> None:
        """Take what a slot says, or notice that it died. Raises SlotsFailed."""
        slot = self._slots.all[number]
        messages = slot.channel.arrived()
        if messages is None:
            self._replace(number)
            return
        for message in messages:
            if "hello" in message:
                slot.offline, slot.isolation = message["hello"], message["isolation"]
                self._free.append(number)
            else:
                self._on_report(number, message)

    def _next(self, shard: OpenShard, room: Room, now_us: int) -> Start | None:
        return shard.agenda.next(room, now_us, suspect_runs=bool(self._suspects))

    def _batch(self, shard: OpenShard, first: Start, now_us: int) -> list[Start]:
        """Return the tasks for a slot: those behind the first are short and fit into its room."""
        kind, ready = (shard.key, first.place[0]), shard.agenda.count(State.READY)
        many = self._durations.tasks_at_once(kind, ready, len(self._slots.all))
        starts = [first]
        if first.alone:
            return starts
        while len(starts) < many and (start := self._next(shard, first.room, now_us)):
            if start.alone or not self._durations.is_short((shard.key, start.place[0])):
                shard.agenda.put_back(start.place)
                break
            starts.append(start)
        return starts

    def _send(self, number: int, shard: OpenShard, starts: list[Start]) -> None:
        """Ask a slot for attempts. One whose request cannot be made ends at once."""
        messages = []
        for start in starts:
            self._local += 1
            running = asked(shard, start, self._local)
            self.running[running.local] = running
            if start.suspect:
                self._suspects.add(running.local)
            self._in_slot[number].append(running.local)
            shard.running += 1
            self._started.begun.setdefault(shard.key, []).append(begun(running, number))
            try:
                message = request(
                    shard.claimed.dataset,
                    start.place,
                    start.request,
                    running.key(self._pilot_run),
                    shard.agenda.outcomes,
                    self._variables,
                    self._node,
                )
            except PulkError as error:
                reply = {"not_started": error.text(), "exit_code": 126, "signal": 0}
                self._end(number, running, ended(running, reply, number), b"")
            else:
                if allows(self._holding, message.get("network", "")):
                    messages.append(message)
                    continue
                reply = {"network_class": self._denied(message["network"]), "exit_code": -1}
                self._end(number, running, ended(running, reply | {"signal": 0}, number), b"")
        if messages:
            self._slots.all[number].send({"tasks": messages})  # a dead slot shows by its end
        else:
            self._set_free(number)

    def _denied(self, wanted: str) -> str:
        return (
            f"the step asks for network class {wanted!r}, tasks here get {self._holding.network!r}"
        )

    def _on_report(self, number: int, message: dict[str, Any]) -> None:
        self._deaths[number] = 0
        for reply in message["ended"]:
            running = self.running[reply["local"]]
            attempt = ended(running, reply, number)
            took_us = attempt.ended_mono_us - attempt.started_mono_us
            self._durations.note(running.kind, took_us / 1_000_000)
            self._end(number, running, attempt, reply.get("log", b""))
        for local in message["back"]:
            self._hand_back(number, self.running[local])
        if not self._in_slot[number]:
            self._set_free(number)

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
        attempts = [self.running[local] for local in self._in_slot[number]]
        self._deaths[number] = 0 if attempts else self._deaths[number] + 1
        for place, running in enumerate(attempts):
            self._durations.distrust(running.kind)
            if place == 0:
                self._end(number, running, lost(running, how, number), b"")
            else:
                self._hand_back(number, running)
        if number in self._rooms:
            self._room = self._room.plus(self._rooms.pop(number))
        if self._deaths[number] >= DEATHS_MAX:
            raise SlotsFailed(slot=number, deaths=DEATHS_MAX, how=how)

    def _listen_to(self, number: int) -> None:
        channel = self._slots.all[number].channel
        self._selector.register(channel.socket, selectors.EVENT_READ, number)

    def _end(self, number: int, running: Running, attempt: Attempt, text: bytes) -> None:
        self._take(number, running)
        agenda, place = running.shard.agenda, running.start.place
        agenda.ended(place, ended_of(attempt, self._pilot_run), attempt.outputs)
        self._on_end(running.shard, attempt, text)

    def _hand_back(self, number: int, running: Running) -> None:
        self._take(number, running)
        self._started.back.setdefault(running.shard.key, []).append(running.local)
        running.shard.agenda.put_back(running.start.place)

    def _take(self, number: int, running: Running) -> None:
        self._in_slot[number].remove(running.local)
        del self.running[running.local]
        self._suspects.discard(running.local)
        running.shard.running -= 1

    def _set_free(self, number: int) -> None:
        self._room = self._room.plus(self._rooms.pop(number))
        self._free.append(number)
