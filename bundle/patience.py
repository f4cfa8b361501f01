"""Coming back when told to: how long a client waits for a server that is busy, and when no longer.

Who is sent away together must not come back together, so the wait is spread here too.
"""

from __future__ import annotations

import random
from collections.abc import Callable

BUSY = frozenset({429, 503})  # nothing was done: the same request may be sent again
TRIES_MAX = 4
SPREAD = 0.5  # up to half as long again


class Patience:
    """The seconds that one client still waits, all its requests together."""

    def __init__(
        self,
        left_s: float,
        sleep: Callable[[float], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Wait at most `left_s` in all; `chance` is uniform in [0, 1)."""
        self._left_s, self._sleep, self._chance = left_s, sleep, chance

    def waits(self, status: int, retry_after: str | None, tries: int) -> bool:
        """Wait as an answer asks and return True; at once False where that is not worth it.

        `retry_after`: that header's value; `tries`: how often the request was sent by now.
        """
        asked_s = retry_after_s(retry_after)
        if status not in BUSY or asked_s is None or tries >= TRIES_MAX:
            return False
        wait_s = asked_s * (1 + SPREAD * self._chance())
        if wait_s > self._left_s:
            return False
        self._left_s -= wait_s
        self._sleep(wait_s)
        return True


def retry_after_s(header: str | None) -> int | None:
    """Return the whole seconds of a Retry-After; None where there is none or it is a date."""
    text = (header or "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else None
