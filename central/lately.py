"""What happened lately, as the planner remembers it: hours delivered, and how long bundles take.

Delivered hours are found as the difference of a dataset's counters since they were last seen, so
nothing is lost or counted twice if this memory is behind; only when they came would be less exact.
It is kept in the database by name and is no fact: no verdict rests on it, a rebuild starts it anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bundle import canonical
from bundle.ids import BundleId, SiteName, StreamId
from bundle.intervals import IntervalSet
from bundle.limits import STATE_LIMITS
from central.core import shares
from central.core.shares import Decayed
from central.core.sizing import Seen
from central.workings import Workings

NAME = "planner.lately"
SAVE_AFTER_US = 60_000_000
DAY_US = 86_400_000_000
SENT_MAX = 64  # works of a site whose return is waited for


@dataclass(slots=True)
class Sent:
    """A work bundle that was packed for a site. `arrived_us`: when its arrival was known."""

    work: BundleId
    stream: StreamId
    sequence: int
    packed_us: int
    arrived_us: int = 0


@dataclass(slots=True)
class SiteMemory:
    """What is remembered of a site."""

    seen: Seen = field(default_factory=Seen)
    sent: list[Sent] = field(default_factory=list)


class Lately:
    """See the module; used under the authority's lock."""

    def __init__(self, workings: Workings) -> None:
        """Take up what the database holds."""
        self._w = workings
        self._half_life_us = int(workings.config.shares.half_life_hours * 3_600_000_000)
        self._days_kept = workings.config.quotas.period_days
        self._served: dict[int, Decayed] = {}
        self._counted: dict[int, int] = {}  # what a dataset's counters said, core-milliseconds
        self._days: dict[str, dict[int, int]] = {}
        self._sites: dict[SiteName, SiteMemory] = {}
        self._saved_us = 0
        self._changed = False
        raw = workings.store.people.meta(NAME)
        if raw is not None:
            self._load(canonical.decode(raw, STATE_LIMITS, where=NAME))

    def deliver(self, no: int, user: str, group: str, total_ms: float, now_us: int) -> None:
        """Note what a dataset's counters say now; what they rose by was delivered now."""
        total = int(total_ms)
        more = total - self._counted.get(no, 0)
        if not more:
            return
        self._counted[no] = total
        self._changed = True
        if more < 0:  # its hours were corrected, or its document edited: nothing was delivered
            return
        before = self._served.get(no, Decayed())
        self._served[no] = shares.add(before, more, now_us, self._half_life_us)
        day = now_us // DAY_US
        for key in (f"user:{user}", f"group:{group}"):
            days = self._days.setdefault(key, {})
            days[day] = days.get(day, 0) + more
            for old in [one for one in days if one <= day - self._days_kept]:
                del days[old]

    def delivered(self, no: int, now_us: int, half_life_us: int) -> float:
        """Return a dataset's decayed core-milliseconds."""
        return shares.now(self._served.get(no, Decayed()), now_us, half_life_us)

    def delivered_in_period(self, key: str, now_us: int) -> int:
        """Return core-milliseconds of "user:NAME" or "group:NAME" in the period of quotas."""
        first = now_us // DAY_US - self._days_kept
        return sum(ms for day, ms in self._days.get(key, {}).items() if day > first)

    def seen(self, site: SiteName) -> Seen:
        """Return what was seen of a site's trips."""
        memory = self._sites.get(site)
        return memory.seen if memory else Seen()

    def packed(self, site: SiteName, sent: Sent) -> None:
        """Note a work bundle with leases that was packed."""
        memory = self._sites.setdefault(site, SiteMemory())
        memory.sent = [*memory.sent, sent][-SENT_MAX:]
        self._changed = True

    def heard(
        self,
        site: SiteName,
        received: dict[StreamId, IntervalSet],
        live: Iterable[BundleId],
        now_us: int,
    ) -> None:
        """Note which of a site's works have arrived, and which have nothing open any more."""
        memory = self._sites.get(site)
        if memory is None or not memory.sent:
            return
        open_works = frozenset(live)
        waiting: list[Sent] = []
        for one in memory.sent:
            took_ms = max(0, now_us - one.packed_us) // 1000
            if not one.arrived_us and one.sequence in received.get(one.stream, IntervalSet()):
                one.arrived_us = now_us
                memory.seen = memory.seen.with_trip(took_ms)
                self._changed = True
            if one.work in open_works:
                waiting.append(one)
            elif one.arrived_us:
                memory.seen = memory.seen.with_turnaround(took_ms)
        self._changed = self._changed or len(waiting) < len(memory.sent)
        memory.sent = waiting

    def save(self, now_us: int) -> None:
        """Write it down where it is due; inside a transaction."""
        if not self._changed or 0 <= now_us - self._saved_us < SAVE_AFTER_US:
            return
        self._saved_us, self._changed = now_us, False
        self._w.store.people.set_meta(NAME, canonical.encode(self._plain()))

    def _plain(self) -> dict[str, Any]:
        return {
            "served": [
                [no, int(one.amount), one.at_us, self._counted.get(no, 0)]
                for no, one in sorted(self._served.items())
            ],
            "days": [
                [key, [[day, ms] for day, ms in sorted(days.items())]]
                for key, days in sorted(self._days.items())
            ],
            "sites": [
                [
                    site,
                    list(memory.seen.trips),
                    list(memory.seen.turnarounds),
                    [
                        [one.work, one.stream, one.sequence, one.packed_us, one.arrived_us]
                        for one in memory.sent
                    ],
                ]
                for site, memory in sorted(self._sites.items())
            ],
        }

    def _load(self, value: Any) -> None:
        for no, amount, at_us, counted in value["served"]:
            self._served[no] = Decayed(float(amount), at_us)
            self._counted[no] = counted
        for key, days in value["days"]:
            self._days[key] = dict(days)
        for site, trips, turnarounds, sent in value["sites"]:
            seen = Seen(tuple(trips), tuple(turnarounds))
            rows = [Sent(BundleId(w), StreamId(s), n, at, came) for w, s, n, at, came in sent]
            self._sites[SiteName(site)] = SiteMemory(seen, rows)
