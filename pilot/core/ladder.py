"""The end of a pilot's time, rung by rung: what is still started, asked for, stopped.

The pilot's own monotonic clock and the end of the allocation decide; a signal only moves the end
nearer. All times here are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

NEVER_S = float("inf")
NOTICE_S = 30.0  # between a scheduler's SIGTERM and its SIGKILL
NEAR_S = 120.0  # a signal so soon before the planned end speaks of that end
NOTICE_STOP_S = 18.0  # before that SIGKILL whatever runs is stopped


class Rung(IntEnum):
    """How far the end has come; each holds what those before it hold."""

    WORK = 0
    LAST_STARTS = 1  # what may not end in time is not started, even if it could go on elsewhere
    CHECKPOINT = 2  # tasks that leave checkpoints are asked for them
    STOP = 3  # whatever runs is stopped; nothing starts


@dataclass(frozen=True, slots=True)
class Times:
    """How long before the end of the allocation each rung comes, in seconds; 0: with the end."""

    last_starts_s: float = 600.0
    checkpoint_s: float = 180.0
    stop_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Ladder:
    """When the pilot must be gone, as it knows now. `notice`: a signal said so."""

    times: Times
    end_s: float = NEVER_S
    notice: bool = False

    def is_end(self, now_s: float) -> bool:
        """Return whether a signal that comes now is that of the end that was planned."""
        return self.end_s - now_s <= NEAR_S

    def rung(self, now_s: float) -> Rung:
        """Return the rung of this moment."""
        left_s = self.end_s - now_s
        if left_s <= self._stop_s:
            return Rung.STOP
        if self.notice or left_s <= self.times.checkpoint_s:
            return Rung.CHECKPOINT
        return Rung.LAST_STARTS if left_s <= self.times.last_starts_s else Rung.WORK

    def next_s(self, now_s: float) -> float:
        """Return when the next rung comes; NEVER_S where none does."""
        times = self.times
        before_end = {self._stop_s, times.checkpoint_s, times.last_starts_s}
        coming = (self.end_s - one for one in before_end)
        return min((one for one in coming if one > now_s), default=NEVER_S)

    def told(self, now_s: float, *, any_checkpoints: bool) -> Ladder:
        """Return the ladder after a SIGTERM: little time is left, and none needed without them.

        A second signal changes nothing but what the first one left to wait for.
        """
        if self.notice:
            return replace(self, end_s=min(self.end_s, now_s + NOTICE_STOP_S))
        end_s = now_s + (NOTICE_S if any_checkpoints else NOTICE_STOP_S)
        return replace(self, end_s=min(self.end_s, end_s), notice=True)

    def stop_at_us(self, now_s: float, now_us: int) -> int:
        """Return in UTC microseconds when tasks are stopped; 0 where never.

        The wall clock is only read, never trusted to pass: a step of it moves nothing.
        """
        if self.end_s == NEVER_S:
            return 0
        return max(1, now_us + round(1e6 * (self.end_s - self._stop_s - now_s)))

    @property
    def _stop_s(self) -> float:
        """A notice is shorter than what an operator planned for the end of an allocation."""
        return min(self.times.stop_s, NOTICE_STOP_S) if self.notice else self.times.stop_s


def planned(times: Times, end_us: int, now_us: int, now_s: float) -> Ladder:
    """Return the ladder of an allocation that ends at a moment of UTC; 0: nobody knows one."""
    if not end_us:
        return Ladder(times)
    return Ladder(times, now_s + (end_us - now_us) / 1e6)
