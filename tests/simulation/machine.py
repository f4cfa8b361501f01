"""What a world runs on: virtual time, one random source, a queue of what comes next, a disk."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush

from tests.simulation.disk import Disk

START_US = 1_700_000_000_000_000
SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US


class Machine:
    """Virtual time that jumps from event to event. Everything random comes from the seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.begun_us = self.now_us = START_US
        self.skew_us = 0  # of the clock that the running program reads
        self.disk = Disk()
        self.story: list[str] = []
        self._entropy = random.Random(f"entropy {seed}")
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def chance(self, name: str) -> random.Random:
        """Return a generator of its own for one purpose, so that purposes don't disturb others."""
        return random.Random(f"{name} {self.seed}")

    def tell(self, *words: object) -> None:
        """Add a line to the story, which must be the same each time the seed is played."""
        at_s = (self.now_us - START_US) / SECOND_US
        self.story.append(f"{at_s:12.3f} {' '.join(map(str, words))}")

    def digest(self) -> str:
        """Return a digest over the story."""
        return hashlib.sha256("\n".join(self.story).encode()).hexdigest()

    def after(self, delay_us: float, what: Callable[[], None]) -> None:
        """Let something happen later."""
        self._count += 1
        heappush(self._queue, (self.now_us + max(1, int(delay_us)), self._count, what))

    def step(self) -> bool:
        """Let the next thing happen; False where there is none."""
        if not self._queue:
            return False
        at_us, _, what = heappop(self._queue)
        self.now_us = max(self.now_us, at_us)
        what()
        return True

    @contextmanager
    def clock(self, skew_us: int) -> Iterator[None]:
        """Let a program run whose clock is off."""
        before, self.skew_us = self.skew_us, skew_us
        try:
            yield
        finally:
            self.skew_us = before

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Let another machine do something meanwhile: its clock is right, its disk sound."""
        before, self.disk.episode = self.disk.episode, None
        try:
            with self.clock(0):
                yield
        finally:
            self.disk.episode = before

    @contextmanager
    def running(self) -> Iterator[None]:
        """Put the machine under everything that this process does."""
        real_urandom, real_time_ns = os.urandom, time.time_ns
        os.urandom = self._entropy.randbytes
        time.time_ns = lambda: (self.now_us + self.skew_us) * 1000
        try:
            with self.disk.between():
                yield
        finally:
            os.urandom, time.time_ns = real_urandom, real_time_ns
