"""How often each person may ask in a minute, where an administrator said so; per process."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from central.core.allowance import Bucket
from central.errors import TooManyRequests

PEOPLE_MAX = 10_000  # whose buckets are kept; who comes back later begins with a full one


class Rates:
    """The buckets of all who have a limit."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        """Count by a clock that never goes back."""
        self._now_s = now_s
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, name: str, per_minute: int) -> None:
        """Count one request. Raises TooManyRequests."""
        if not per_minute:
            return
        now_s = self._now_s()
        bucket = self._buckets.setdefault(name, Bucket(float(per_minute), now_s))
        self._buckets.move_to_end(name)
        if len(self._buckets) > PEOPLE_MAX:
            self._buckets.popitem(last=False)
        wait_s = bucket.take(per_minute, now_s)
        if wait_s:
            raise TooManyRequests(per_minute=per_minute, come_back_s=math.ceil(wait_s))
