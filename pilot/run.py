"""The pilot's loop: claim shards, keep the slots busy, record how attempts end, seal.

One thread over selectors decides; slots run the tasks, the recorder makes durable. An attempt's
children may start before its record is durable; a shard is sealed only after all its records.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import time

from bundle.errors import PulkError
from bundle.ids import PilotRun
from bundle.records import seal as seals
from bundle.records.attempt import Attempt
from bundle.records.seal import Claim
from bundle.spool import publish
from bundle.spool.layout import Spool
from bundle.trust.keys import MemoryKey
from pilot import linux, node
from pilot.attempts import GROUP_S, Gathering, OpenShard
from pilot.checkpoints import Checkpoints
from pilot.core.fate import Stop
from pilot.core.node import Node
from pilot.core.packing import Packing
from pilot.core.request import Site
from pilot.discovery import disk
from pilot.dispatch import Dispatch
from pilot.ending import Ending, Plan
from pilot.holdings import Holdings
from pilot.open_shards import OpenShards
from pilot.radio.silence import RADIO, Silence
from pilot.recorder import Recorder, Started
from pilot.slots import Slots
from pilot.staging.child import Places
from pilot.staging.flow import Flow

SAMPLE_S = 5.0
SLOW_S = 1.0

log = logging.getLogger("pulk.pilot")


class Pilot:
    """One pilot run."""

    def __init__(
        self,
        spool: Spool,
        slots: Slots,
        pilot_run: PilotRun,
        batch_id: str,
        site: Site,
        idle_s: float,
        found: Node,
        plan: Plan,
        places: Places,
    ) -> None:
        """Make the pilot's key; its slots were started before.

        `found`: what the node has; `plan`: what is known of the end; `places`: where files lie
        that are on their way.
        """
        self._spool = spool
        self._slots = slots
        self._pilot_run = pilot_run
        self._batch_id = batch_id
        self._idle_s = idle_s
        self._signer = MemoryKey.generate()
        self._selector = selectors.DefaultSelector()
        self._found = found
        self._node = found.room_on(disk.free_bytes(spool.root))
        self._environment = site.variables()
        self._samples = node.Samples(spool.root)
        times = plan.times
        resumed_us = max(round(1e6 * (times.last_starts_s - times.stop_s)), 1)
        many = len(slots.all)
        self._packing = Packing(self._node, slots=many, resumed_us=resumed_us, stages=True)
        holdings = Holdings(self._node, found)
        self._flow = Flow(places, site.staging, slots, holdings, self._packing, self._selector)
        self._dispatch = Dispatch(
            *(slots, self._selector, pilot_run, site, holdings, self._packing),
            *(self._on_begin, self._on_end, Checkpoints(spool), self._flow),
        )
        self._ending = Ending(plan, spool, pilot_run, self._dispatch, self._packing)
        self._radio = self._radio_of(site)
        self._shards = OpenShards(
            *(spool, pilot_run, self._radio, self._node, many, self._packing, self._flow)
        )
        self._emergency = plan.emergency
        self._gathering = Gathering()
        self._ended = 0  # attempts, durable or not
        now_s = time.monotonic()
        self._last_work_s = self._next_grow_s = now_s
        self._next_sample_s = now_s + SLOW_S
        self._bell, self._bell_rope = socket.socketpair()
        for end in (self._bell, self._bell_rope):
            end.setblocking(False)

    def run(self) -> None:
        """Work until there is nothing to do for `idle_s`, or until drained. Raises PulkError."""
        self._selector.register(self._bell, selectors.EVENT_READ, None)
        self._ending.listen(self._bell_rope.fileno())
        try:
            offline = self._dispatch.settle_in()
            isolation = self._slots.isolation
            self._host = node.describe(offline, isolation, self._found, self._environment)
        except PulkError:
            publish.remove(self._spool.claimed(self._pilot_run))
            raise
        self._write_claim()
        self._recorder = Recorder(self._spool, self._signer, self._batch_id, self._ring)
        try:
            while True:
                self._fill()
                if self._is_over():
                    break
                for key, _ in self._selector.select(self._pause_s()):
                    self._on_ready(key.data)
                self._tick()
        finally:
            self._radio.close()
            self._dispatch.watch.close()
            self._flow.close()
            self._slots.close()
            self._flush()
            self._recorder.close(self._emergency)
        self._shards.close()
        self._leave()

    # -- the radio -----------------------------------------------------------------------

    def _radio_of(self, site: Site) -> Silence:
        """Return what hears the relay; nothing of it is loaded where the site has no radio."""
        if not site.has_radio:
            return Silence()
        from bundle.radio.messages import VERSIONS, Hello
        from bundle.radio.messages import State as Telling
        from pilot.radio.receiver import Receiver
        from pilot.radio.telling import state

        slots = len(self._slots.all)

        def hello() -> Hello:
            return Hello(VERSIONS, self._batch_id, self._host.name, slots)

        def now() -> Telling:
            dispatch = self._dispatch
            figures, running = dispatch.watch.figures(), dispatch.flight.running.values()
            return state(running, figures, slots, dispatch.free, len(self._shards.all))

        def on_air(is_heard: bool) -> None:
            dispatch.on_air(is_heard)
            ending.on_air(is_heard)
            self._shards.look_soon()

        dispatch, ending = self._dispatch, self._ending
        return Receiver(self._spool, site.name, self._selector, hello, now, on_air, ending.hear)

    # -- coming and going ----------------------------------------------------------------

    def _write_claim(self) -> None:
        claim = Claim(
            pilot_run=self._pilot_run,
            pilot_key=self._signer.public,
            batch_id=self._batch_id,
            host=self._host.name,
            boot_id=self._host.boot_id,
            pid=os.getpid(),
            start_ticks=linux.start_ticks(),
            started_us=time.time_ns() // 1000,
            slots=len(self._slots.all),
            offline=self._host.offline,
            isolation=self._host.isolation,
            radio_key=self._radio.public_key,
        )
        path = self._spool.claim(self._pilot_run)
        publish.write_new_file(self._spool.folder("tmp"), path, seals.encode_claim(claim))
        self._ending.claim = claim
        facts = {"pilot_run": self._pilot_run.hex(), "offline": self._host.offline}
        facts["isolation"] = self._host.isolation
        log.info("pilot started", extra=facts)

    def _leave(self) -> None:
        """Remove the pilot's folder, unless it holds a shard that could not be run."""
        folder = self._spool.claimed(self._pilot_run)
        if not any(folder.glob("*.shard")):
            publish.remove(folder)
        log.info("pilot ended", extra={"attempts": self._recorder.committed})

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: the loop has been woken already
            self._bell_rope.send(b"\0")

    def _is_over(self) -> bool:
        if self._recorder.failure is not None:
            return self._emergency is None or not self._dispatch.flight.running
        if self._shards.all:
            return False
        return self._ending.starts_no_more or time.monotonic() - self._last_work_s >= self._idle_s

    # -- the loop's parts ----------------------------------------------------------------

    def _fill(self) -> None:
        """Start tasks while there are free slots, claiming shards where the open ones have none."""
        if not self._ending.starts_no_more:
            self._dispatch.look_ahead(self._shards.all)
        while self._dispatch.has_free_slot and not self._ending.starts_no_more:
            durable = self._ended == self._recorder.committed
            has_some = self._dispatch.start_some(self._shards.all, suspects=durable)
            if not has_some and (self._dispatch.awaits_files or not self._claim_one()):
                break
            self._dispatch.look_ahead(self._shards.all)
        self._dispatch.tell_news()

    def _pause_s(self) -> float:
        """Return how long the loop may sleep."""
        now_s = time.monotonic()
        looks_s = (self._next_sample_s, self._dispatch.watch.next_look_s, self._radio.next_s)
        wake_s = min(now_s + SLOW_S, *looks_s, self._ending.next_s(now_s))
        if self._gathering.group.attempts:
            wake_s = min(wake_s, self._gathering.since_s + GROUP_S)
        if self._dispatch.has_free_slot and not self._ending.starts_no_more:
            until_due_s = self._shards.until_due_s(SLOW_S)
            wake_s = min(wake_s, self._shards.next_look_s, now_s + until_due_s)
        return max(0.0, wake_s - now_s)

    def _on_ready(self, number: int | None) -> None:
        if number == RADIO:
            self._radio.on_ready()
            return
        if number is not None:
            self._dispatch.on_ready(number)
            return
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(4096)

    def _tick(self) -> None:
        now_s = time.monotonic()
        if self._recorder.failure is not None:  # what ends from now on is sealed elsewhere
            self._ending.stop(Stop.PREEMPTED, "the spool takes no more records")
        self._radio.tick(now_s)
        self._radio.sealed(self._recorder.sealed)
        self._ending.tick(now_s, self._shards.all)
        self._shards.look_for_edits(now_s)
        if now_s >= self._next_grow_s:
            self._next_grow_s = now_s + SLOW_S
            self._dispatch.grow(keeps=self._nothing_waits())
        self._dispatch.watch.look()
        if now_s >= self._next_sample_s:
            self._next_sample_s = now_s + SAMPLE_S
            self._sample()
        if self._gathering.is_due(now_s):
            self._flush()
        self._seal_what_is_over()

    def _nothing_waits(self) -> bool:
        """Whether nothing is left that would want the room which is idle now."""
        if self._ending.starts_no_more or self._ending.is_near:
            return True
        return not self._shards.anything_waits() and self._shards.found_none

    def _claim_one(self) -> bool:
        """Claim and open a shard, if there is one."""
        if not self._shards.claim_one(self._host, self._recorder):
            return False
        self._ending.opened(self._shards.newest())
        self._last_work_s = time.monotonic()
        return True

    # -- recording -----------------------------------------------------------------------

    def _on_begin(self, news: Started) -> None:
        self._recorder.begin(news)

    def _on_end(self, shard: OpenShard, attempt: Attempt, text: bytes, series: bytes) -> None:
        self._ended += 1
        self._gathering.add(shard.key, attempt, text, series)
        self._last_work_s = time.monotonic()

    def _flush(self) -> None:
        if self._gathering.group.attempts or self._gathering.group.samples:
            self._recorder.record(self._gathering.group)
            self._gathering = Gathering()

    def _sample(self) -> None:
        if self._shards.all:
            sample = self._samples.take(len(self._dispatch.flight.running))
            self._gathering.group.samples.append((next(iter(self._shards.all)), sample))

    def _seal_what_is_over(self) -> None:
        """Seal shards in which nothing runs and nothing will be started here."""
        starts_no_more = self._ending.starts_no_more
        over = self._shards.over(self._dispatch.end_us, starts_no_more=starts_no_more)
        for shard, complete in over:
            self._flush()
            self._recorder.seal(shard.key, complete=complete)
