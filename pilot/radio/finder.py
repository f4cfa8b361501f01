"""Finding the next shard: by name from the relay where it is heard, else by looking in the spool.

Either way the shard is this pilot's when its file has moved, and by nothing else.
"""

from __future__ import annotations

import time

from bundle.spool.shard import ShardFile
from pilot.claims import Claims
from pilot.radio.silence import Silence

LOOK_S = 0.1
LOOK_S_MAX = 1.0
ANSWER_S = 1.0  # a relay that is heard has so long to answer; then the spool is looked at
LOOK_ON_AIR_S = 10.0  # and so often anyway: what a relay says is no more than a hint


class Finder:
    """Of one pilot. `next_s` is when it is worth trying again."""

    def __init__(self, claims: Claims, radio: Silence, salt: bytes) -> None:
        """`salt` decides who tries which shard first."""
        self._claims, self._radio, self._salt = claims, radio, salt
        self._pause_s = LOOK_S
        self.next_s = self._next_listing_s = time.monotonic()
        self._asked_s = 0.0

    @property
    def found_nothing(self) -> bool:
        """Whether nothing was on offer for some time."""
        return self._pause_s >= LOOK_S_MAX

    def soon(self) -> None:
        """Let the next try be at once: something has changed."""
        self.next_s = 0.0

    def claim(self, now_s: float) -> ShardFile | None:
        """Claim a shard; None where there is none, or where it is too early to try."""
        radio = self._radio
        while (name := radio.offered(now_s)) is not None:
            file = self._claims.take(name, time.time_ns() // 1000)
            radio.told(name, taken=file is not None)
            if file is not None:
                return self._found(file)
        if now_s < self.next_s:
            return None
        if radio.is_heard and self._is_served(now_s) and now_s < self._next_listing_s:
            self.next_s = now_s + LOOK_S_MAX
            return None
        file = self._claims.claim(time.time_ns() // 1000, self._salt)
        if file is not None:
            return self._found(file)
        self._pause_s = min(2 * self._pause_s, LOOK_S_MAX)
        self.next_s = now_s + self._pause_s
        self._next_listing_s = now_s + LOOK_ON_AIR_S
        return None

    def _found(self, file: ShardFile) -> ShardFile:
        self._pause_s, self.next_s, self._asked_s = LOOK_S, 0.0, 0.0
        self._next_listing_s = time.monotonic() + LOOK_ON_AIR_S
        return file

    def _is_served(self, now_s: float) -> bool:
        """Ask the relay; return whether it has answered, or may still be about to."""
        if self._radio.want(now_s):
            self._asked_s = now_s
        if self._radio.answered_s >= self._asked_s:  # and it named none, or none was left
            self._pause_s = LOOK_S_MAX
            return True
        return now_s - self._asked_s < ANSWER_S
