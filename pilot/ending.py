"""How a pilot comes to its end: clock, signals, the drain file, a broken node.

And how some of its work does: datasets that were deleted, leases that were called off.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from bundle.ids import PilotRun
from bundle.records import seal as seals
from bundle.records.seal import Claim
from bundle.spool import called_off, publish
from bundle.spool.layout import Spool
from pilot.attempts import OpenShard
from pilot.core.fate import Stop
from pilot.core.ladder import Rung, Times, planned
from pilot.core.packing import Packing
from pilot.dispatch import Dispatch

if TYPE_CHECKING:
    from bundle.radio.messages import News

LOOK_S = 1.0  # files are looked at so often
LOOK_ON_AIR_S = 5.0  # and so often where the relay is heard
UNWANTED_BYTES_MAX = 16 << 20

log = logging.getLogger("pulk.pilot")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of the end before anything starts.

    `end_us`: UTC microseconds at which the allocation ends, 0 unknown. `emergency`: where seals go
    when the spool takes no more.
    """

    end_us: int = 0
    times: Times = field(default_factory=Times)
    emergency: Path | None = None


class Ending:
    """Decides with the ladder's help what is still started, and stops what must stop."""

    def __init__(
        self, plan: Plan, spool: Spool, pilot_run: PilotRun, dispatch: Dispatch, packing: Packing
    ) -> None:
        """Begin to count; signals are heard once `listen` was called."""
        self._spool, self._pilot_run = spool, pilot_run
        self._dispatch, self._packing = dispatch, packing
        self.starts_no_more = False
        self.retired = ""  # why
        self.claim: Claim | None = None
        self._signals = self._heard = 0
        self._ladder = planned(plan.times, plan.end_us, time.time_ns() // 1000, time.monotonic())
        dispatch.end_us = self._stop_at_us()
        self._rung = Rung.WORK
        self._stopped = False
        self._next_look_s = time.monotonic()
        self._files = (_Shown(spool.tombstones, _names), _Shown(spool.called_off, _names))
        self._tasks_off = _Shown(spool.called_off_tasks, called_off.read)
        self._told: frozenset[str] = frozenset()  # by the relay, before the spool shows it
        self._look_s = LOOK_S

    @property
    def is_near(self) -> bool:
        """Whether the end of the allocation is so near that only the tail is filled."""
        return self._rung >= Rung.LAST_STARTS

    def listen(self, bell: int) -> None:
        """Hear signals from now on; each rings the loop's bell."""

        def on_signal(_number: int, _frame: object) -> None:
            self._signals += 1
            if self._dispatch.pilot_told is Stop.NONE:  # at once: tasks that it reached report now
                self._dispatch.pilot_told = self._told_why()

        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)

    def next_s(self, now_s: float) -> float:
        """Return when to tick again at the latest."""
        return min(self._next_look_s, self._ladder.next_s(now_s))

    def tick(self, now_s: float, shards: Mapping[int, OpenShard]) -> None:
        """Look whether the end has come nearer, and act on it."""
        if self._signals != self._heard:
            self._heard = self._signals
            keepers = self._dispatch.flight.keepers()
            self._ladder = self._ladder.told(now_s, any_checkpoints=bool(keepers))
            self.starts_no_more = True
        self._dispatch.end_us = self._stop_at_us()
        rung = self._ladder.rung(now_s)
        if rung is not self._rung:
            self._climb(rung)
        if self._dispatch.beside.fingerprint:
            self.retire(self._dispatch.beside.fingerprint)
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + self._look_s
            self._look_around(shards.values())

    def on_air(self, is_heard: bool) -> None:
        """Look at the spool less often while the relay is heard, which tells what is new there."""
        self._look_s = LOOK_ON_AIR_S if is_heard else LOOK_S
        self._next_look_s = 0.0

    def hear(self, news: News) -> None:
        """Take what the relay saw in the spool, where this node may see it seconds later."""
        self._told |= {*news.gone, *(lease.hex() for lease in news.off)}
        self.starts_no_more = self.starts_no_more or news.drains
        self._next_look_s = 0.0

    def retire(self, reason: str) -> None:
        """Start nothing more, for this node would only spoil it; what runs may end."""
        if self.retired:
            return
        self.starts_no_more, self.retired = True, reason
        log.error("pilot retires: this node is broken", extra={"reason": reason})
        if self.claim is not None:  # for who looks at the spool while the last tasks end
            raw = seals.encode_claim(replace(self.claim, retired=reason))
            with contextlib.suppress(OSError):  # the spool may be what is broken
                publish.write_file(
                    self._spool.folder("tmp"), self._spool.claim(self._pilot_run), raw
                )

    def stop(self, stop: Stop, evidence: str) -> None:
        """Stop whatever runs, once."""
        self.starts_no_more = True
        if not self._stopped:
            self._stopped = True
            self._dispatch.stop(stop, evidence)

    def _told_why(self) -> Stop:
        near = self._ladder.is_end(time.monotonic())
        return Stop.ALLOCATION_END if near else Stop.PREEMPTED

    def _stop_at_us(self) -> int:
        return self._ladder.stop_at_us(time.monotonic(), time.time_ns() // 1000)

    def _climb(self, rung: Rung) -> None:
        before, self._rung = self._rung, rung
        log.info("the end comes nearer", extra={"rung": rung.name.lower()})
        if rung >= Rung.CHECKPOINT > before:
            self._dispatch.ask_for_checkpoints()
        if rung >= Rung.STOP:
            told = self._dispatch.pilot_told
            if told is Stop.PREEMPTED:
                self.stop(told, "the pilot was told to end")
            else:
                self.stop(Stop.ALLOCATION_END, "the allocation ends")

    def _look_around(self, shards: Collection[OpenShard]) -> None:
        """Look whether the site drains, work is unwanted, or this pilot was taken for dead."""
        if self._spool.drain.exists():
            self.starts_no_more = True
        if reason := _unwritable(self._spool.root):
            self.retire(f"the spool {reason}")
        self._bury(shards)
        try:
            self._spool.claim(self._pilot_run).stat()
        except FileNotFoundError:
            self.stop(Stop.PREEMPTED, "the pilot was taken for dead: its claim is gone")
        except OSError as error:  # a shared filesystem that hesitates proves nothing
            log.warning("claim not readable", extra={"reason": str(error)})

    def opened(self, shards: Iterable[OpenShard]) -> None:
        """Have nothing started of shards that are open now which was called off before."""
        off = self._tasks_off.read()
        for shard in shards if off else ():
            its = off.get(shard.claimed.lease.lease)
            if its is None or its is shard.off:
                continue
            shard.off = its
            for step, jobs in its.items():
                if runs := shard.agenda.call_off(step, jobs):
                    self._dispatch.stop(Stop.CANCELLED, "it was called off", shard, runs)

    def _bury(self, shards: Collection[OpenShard]) -> None:
        """Stop what runs of deleted datasets and called off leases, and start no more of them."""
        self.opened(shards)
        gone = self._told.union(*(file.read() for file in self._files))
        for shard in shards if gone else ():
            lease = shard.claimed.lease
            if shard.is_gone or gone.isdisjoint((lease.dataset, lease.lease.hex())):
                continue
            shard.is_gone = True
            self._packing.close(shard.key)
            why = "its dataset was deleted" if lease.dataset in gone else "it was called off"
            self._dispatch.stop(Stop.CANCELLED, why, shard)


class _Shown(Generic[T]):
    """What a file says that is replaced whole; where it can't be read, what it said last."""

    def __init__(self, path: Path, means: Callable[[bytes], T]) -> None:
        self._path, self._means = path, means
        self._raw, self._said = b"", means(b"")

    def read(self) -> T:
        try:
            with self._path.open("rb") as file:
                raw = file.read(UNWANTED_BYTES_MAX)
        except OSError:
            return self._said
        if raw != self._raw:
            self._raw, self._said = raw, self._means(raw)
        return self._said


def _names(raw: bytes) -> frozenset[str]:
    """Read a file of names, a line each."""
    return frozenset(raw.decode(errors="replace").split())


def _unwritable(folder: Path) -> str:
    """Return why nothing can be written into a folder any more, or nothing."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return ""
    if found.f_flag & os.ST_RDONLY:
        return "is read-only"
    if found.f_blocks and not found.f_bavail:
        return "is full"
    if found.f_files and not found.f_favail:
        return "has no inodes left"
    return ""
