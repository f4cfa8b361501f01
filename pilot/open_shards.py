"""The shards that a pilot works at: claimed where the open ones have nothing to start."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

from bundle.errors import PulkError
from bundle.ids import PilotRun
from bundle.records.host import Host
from bundle.spool.layout import Spool
from pilot.attempts import OpenShard
from pilot.claims import Claims
from pilot.core.agenda import Agenda, State
from pilot.core.packing import Packing
from pilot.core.room import Room
from pilot.radio.finder import Finder
from pilot.radio.silence import Silence
from pilot.recorder import Recorder
from pilot.staging.flow import Flow

_OPEN_STATES = (State.READY, State.BACKING_OFF, State.WAITING)

log = logging.getLogger("pulk.pilot")


class OpenShards:
    """The open shards of one pilot, by the recorder's keys."""

    def __init__(
        self,
        spool: Spool,
        pilot_run: PilotRun,
        radio: Silence,
        node: Room,
        slots: int,
        packing: Packing,
        flow: Flow,
    ) -> None:
        """Begin with none. `slots`: how many; a few more shards than that may be open."""
        self.all: dict[int, OpenShard] = {}
        self._claims = Claims(spool, pilot_run)
        self._finder = Finder(self._claims, radio, pilot_run * 2)
        self._pilot_run, self._node, self._slots = pilot_run, node, slots
        self._packing, self._flow = packing, flow
        self._keys = 0

    @property
    def found_none(self) -> bool:
        """Whether nothing was on offer for so long that nothing more is expected."""
        return self._finder.found_nothing

    @property
    def next_look_s(self) -> float:
        """When it is worth trying to claim again."""
        return self._finder.next_s

    def look_soon(self) -> None:
        """Let the next try be at once: something has changed."""
        self._finder.soon()

    def claim_one(self, host: Host, recorder: Recorder) -> bool:
        """Claim and open a shard; it may turn out to have nothing to start."""
        if len(self.all) > 2 * self._slots:
            return False
        self.look_for_edits(time.monotonic())
        if (file := self._finder.claim(time.monotonic())) is None:
            return False
        try:
            claimed = self._claims.open(file)
        except (PulkError, OSError) as error:
            log.error("shard unusable", extra={"shard": str(file.name), "reason": str(error)})
            return True
        self._keys += 1
        agenda = Agenda(
            claimed.dataset,
            claimed.lease,
            claimed.earlier,
            self._node,
            claimed.maximum,
            time.time_ns() // 1000,
            self._packing,
            self._keys,
            file.start_before_us,
        )
        self.all[self._keys] = OpenShard(self._keys, claimed, agenda)
        recorder.open(self._keys, claimed.header(self._pilot_run, host), file)
        return True

    def look_for_edits(self, now_s: float) -> None:
        """Let open shards go on by newer documents of their datasets; looks once in a while."""
        fresh = self._claims.newest.look(now_s)
        for shard in self.all.values() if fresh else ():
            before = shard.claimed
            if before.lease.dataset not in fresh:
                continue
            shard.claimed = self._claims.in_force(before)
            if steps := before.differing(shard.claimed):
                shard.agenda.revise(
                    shard.claimed.dataset, shard.claimed.lease, steps, time.time_ns() // 1000
                )
                facts = {"dataset": before.lease.dataset, "steps": sorted(steps)}
                log.info("going on by an edited document", extra=facts)

    def newest(self) -> list[OpenShard]:
        """Return the shard that was opened last, if it is open."""
        return [self.all[self._keys]] if self._keys in self.all else []

    def until_due_s(self, most_s: float) -> float:
        """Return in how many seconds the first task that backs off may start."""
        now_us = time.time_ns() // 1000
        open_shards = (shard for shard in self.all.values() if shard.may_start(now_us))
        due = [due_us for shard in open_shards if (due_us := shard.agenda.due_us)]
        return max(0, min(due) - now_us) / 1_000_000 if due else most_s

    def anything_waits(self) -> bool:
        """Whether a task of an open shard would want room that is idle."""
        agendas = [shard.agenda for shard in self.all.values()]
        return any(agenda.count(state) for agenda in agendas for state in _OPEN_STATES)

    def over(self, end_us: int, *, starts_no_more: bool) -> Iterator[tuple[OpenShard, bool]]:
        """Yield shards in which nothing runs and nothing will start, and whether they are complete.

        The caller seals each; it is no longer one of ours.
        """
        now_us = time.time_ns() // 1000
        for shard in list(self.all.values()):
            if shard.running:
                continue
            complete = shard.agenda.complete
            if complete or starts_no_more or self._is_stuck(shard, now_us, end_us):
                self._flow.drop(shard)
                self._packing.drop(shard.key)
                del self.all[shard.key]
                self.look_soon()
                yield shard, complete

    def close(self) -> None:
        """Close all work bundles."""
        self._claims.close()

    def _is_stuck(self, shard: OpenShard, now_us: int, end_us: int) -> bool:
        """Whether what is left needs more time or GPUs than there are: it goes back untouched."""
        if shard.agenda.count(State.BACKING_OFF) and shard.may_start(now_us):
            return False
        if self._flow.is_coming(shard) and shard.may_start(now_us):
            return False
        if self._packing.may_start(shard.key, now_us, end_us):
            return False
        self._claims.give_back(shard.claimed.lease.lease)
        return True
