"""Which pilot is told of which shard: each shard of one pilot, for a few seconds.

A shard is a pilot's when its file has moved, and by nothing else. So whatever is wrong here (an
old listing, a pilot that fell silent, two relays) costs a pilot one look at a file that is gone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from bundle.ids import LeaseId, PilotRun
from bundle.spool.layout import ShardName

TOLD_S = 5.0  # a pilot has so long to take what it was told of
WANT_S = 15.0  # a pilot that still waits says so again before
PASSED_MAX = 1000  # leases that one pilot is not told of again


class HandOut:
    """Changes in place; times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        """Begin without shards and pilots."""
        self._idle: OrderedDict[ShardName, None] = OrderedDict()
        self._told: dict[ShardName, tuple[PilotRun, float]] = {}
        self._waiting: OrderedDict[PilotRun, float] = OrderedDict()
        self._passed: dict[PilotRun, OrderedDict[LeaseId, None]] = {}

    @property
    def waiting(self) -> int:
        """How many pilots wait for a shard."""
        return len(self._waiting)

    @property
    def idle(self) -> int:
        """How many shards are on offer that nobody was told of."""
        return len(self._idle)

    def see(self, names: Iterable[ShardName], now_s: float) -> None:
        """Take a listing of what is on offer in place of the last one."""
        there = set(names)
        self._told = {
            name: told for name, told in self._told.items() if name in there and told[1] > now_s
        }
        for name in [one for one in self._idle if one not in there]:
            del self._idle[name]
        for name in sorted(there - self._told.keys() - self._idle.keys(), key=str):
            self._idle[name] = None

    def want(self, pilot: PilotRun, now_s: float) -> ShardName | None:
        """Return a shard for a pilot that wants one; it waits where there is none."""
        name = self._chosen(pilot)
        if name is None:
            self._waiting[pilot] = now_s + WANT_S
            return None
        self._waiting.pop(pilot, None)
        del self._idle[name]
        self._told[name] = (pilot, now_s + TOLD_S)
        return name

    def pushes(self, now_s: float) -> list[tuple[PilotRun, ShardName]]:
        """Return which waiting pilots are told of what; who waits longest comes first."""
        for pilot in [one for one, until_s in self._waiting.items() if until_s <= now_s]:
            del self._waiting[pilot]
        found = []
        for pilot in list(self._waiting):
            if not self._idle:
                break
            if (name := self.want(pilot, now_s)) is not None:
                found.append((pilot, name))
        return found

    def took(self, pilot: PilotRun, name: ShardName, *, taken: bool) -> None:
        """Hear what became of a shard; a pilot that did not take it is not told of it again."""
        told = self._told.get(name)
        if told is not None and told[0] == pilot:
            del self._told[name]
        self._idle.pop(name, None)  # gone, or looked for anew by the next listing
        if not taken:
            passed = self._passed.setdefault(pilot, OrderedDict())
            passed[name.lease] = None
            while len(passed) > PASSED_MAX:
                passed.popitem(last=False)

    def refuse(self, pilot: PilotRun) -> None:
        """Hear that a pilot wants nothing any more."""
        self._waiting.pop(pilot, None)

    def forget(self, pilot: PilotRun) -> None:
        """Forget a pilot that ended or fell silent; what it was told of is on offer again."""
        self._waiting.pop(pilot, None)
        self._passed.pop(pilot, None)
        for name in [one for one, told in self._told.items() if told[0] == pilot]:
            del self._told[name]

    def _chosen(self, pilot: PilotRun) -> ShardName | None:
        passed = self._passed.get(pilot)
        if passed is None:
            return next(iter(self._idle), None)
        return next((name for name in self._idle if name.lease not in passed), None)
