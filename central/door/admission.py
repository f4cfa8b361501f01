"""How much of everything the door lets through; pure: the clock and chance are arguments."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

COME_BACK_S_MIN = 2.0
COME_BACK_S_MAX = 120.0
SITES_REMEMBERED_MAX = 10_000


class Rate:
    """So many a second on the whole, with bursts of up to `burst`."""

    def __init__(self, per_s: float, burst: float) -> None:
        """Begin with a whole burst."""
        self.per_s, self.burst = per_s, burst
        self._left, self._at_s = burst, 0.0

    def available(self, now_s: float) -> int:
        """Return how many may be taken now."""
        if now_s > self._at_s:
            self._left = min(self.burst, self._left + (now_s - self._at_s) * self.per_s)
            self._at_s = now_s
        return int(self._left)

    def take(self, now_s: float) -> bool:
        """Take one if there is one."""
        if self.available(now_s) < 1:
            return False
        self._left -= 1
        return True


class SiteRates:
    """A rate per site; sites not heard for the longest are forgotten first."""

    def __init__(self, per_s: float) -> None:
        """Give every site the same rate, with bursts of two seconds."""
        self._per_s = per_s
        self._rates: OrderedDict[str, Rate] = OrderedDict()

    def take(self, site: str, now_s: float) -> bool:
        """Take one of a site's if there is one."""
        rate = self._rates.get(site)
        if rate is None:
            rate = self._rates[site] = Rate(self._per_s, 2 * self._per_s)
            if len(self._rates) > SITES_REMEMBERED_MAX:
                self._rates.popitem(last=False)
        self._rates.move_to_end(site)
        return rate.take(now_s)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the door holds at once. See docs/operate-central.md."""

    connections: int
    per_address: int  # 0: no limit
    unread: int  # connections whose first head has not come whole
    completions: int  # connections that the server holds with completions
    others: int  # and with everything else
    asks_per_s: int
    site_asks_per_s: int

    @property
    def queue(self) -> int:
        """How many asks wait for an answer; what is beyond is asked to come back."""
        return self.asks_per_s

    @property
    def sheds_per_s(self) -> int:
        """How many are asked to come back in a second; the rest waits unanswered."""
        return 2 * self.asks_per_s

    @classmethod
    def of(
        cls, files: int, connections: int, per_address: int, asks: int, site_asks: int
    ) -> Limits:
        """Return the limits for a process that may have `files` files open.

        The server needs files of its own (database, archive, uploads), up to four for one
        connection; a quarter of them is kept for what nobody foresees.
        """
        served = max(2, (files - 32) // 8)
        own = max(8, min(connections, files - 24))
        return cls(
            connections=own,
            per_address=per_address,
            unread=max(4, own // 4),
            completions=min(256, served),
            others=min(256, served),
            asks_per_s=asks,
            site_asks_per_s=site_asks,
        )


def come_back_s(waiting: int, per_s: float, chance: float) -> int:
    """Return Retry-After in whole seconds: the time the queue takes, spread over three times it.

    `chance` is uniform in [0, 1): those sent away together do not come back together.
    """
    base = min(max(waiting / per_s, COME_BACK_S_MIN), COME_BACK_S_MAX)
    return round(base * (1 + 2 * chance))
