"""When there will be room for a task that waits for it, and who may start before.

A task that is better than those that fit, but does not fit itself, is promised the moment at which,
by what is known of the running tasks, there is room. Until then others fill the gap as long as
they end before, or leave it room beside them. A promise that was broken, because tasks took longer
than they should, is made again with what nobody can break: the walltimes.
"""

from __future__ import annotations

from dataclasses import dataclass

from pilot.core.room import Grant, Need, Room

PASSED_OVER_MAX = 64  # starts that may overtake where nobody knows when there will be room
OUTRANKED_MAX = 1024  # starts of better tasks; then the one that waits comes before them


@dataclass(frozen=True, slots=True)
class _Run:
    """What runs in a slot: when it will end, and when it must have."""

    grant: Grant
    ends_us: int
    latest_us: int

    def end_us(self, now_us: int, *, latest: bool) -> int:
        """Return when it will end; one that is late will be as late again."""
        if latest:
            return max(self.latest_us, now_us)
        if self.ends_us >= now_us:
            return self.ends_us
        return max(min(2 * now_us - self.ends_us, self.latest_us), now_us)


@dataclass(slots=True)
class _Wait:
    """A need without room: how many worse and better tasks passed it, what it was promised."""

    passed: int = 0
    outranked: int = 0
    promised_us: int = 0


class Promises:
    """What runs and who waits. Changes in place."""

    def __init__(self) -> None:
        """Begin with an idle node."""
        self._running: dict[int, _Run] = {}
        self._waits: dict[Need, _Wait] = {}

    def started(self, slot: int, grant: Grant, ends_us: int, latest_us: int) -> None:
        """Take note of what a slot was granted, until when."""
        self._running[slot] = _Run(grant, ends_us, latest_us)

    def ended(self, slot: int) -> None:
        """Take note that a slot holds nothing any more."""
        self._running.pop(slot, None)

    def is_patient(self, need: Need) -> bool:
        """Return whether tasks that are better may still overtake this need."""
        wait = self._waits.get(need)
        if wait is None:
            return True
        return wait.passed < PASSED_OVER_MAX and wait.outranked < OUTRANKED_MAX

    def outranked(self, need: Need) -> None:
        """Count that a better task starts while this need finds no room."""
        self._waits.setdefault(need, _Wait()).outranked += 1

    def kept(self, need: Need) -> None:
        """Take note that a task with this need starts."""
        self._waits.pop(need, None)

    def overtaken(
        self, need: Need, other: Need, took_us: tuple[int, int], room: Room, now_us: int
    ) -> bool:
        """Return whether `other` may start first, and count it if so.

        `took_us`: what it will take, and what it may take at most.
        """
        wait = self._waits.setdefault(need, _Wait())
        broken = 0 < wait.promised_us < now_us
        found = self._when(need, room, now_us, latest=broken)
        if found is None:
            may = wait.passed < PASSED_OVER_MAX
        else:
            at_us, then = found
            wait.promised_us = wait.promised_us or at_us
            may = now_us + took_us[broken] <= at_us or then.take(need)[0].fits(other)
        wait.passed += may
        return may

    def _when(
        self, need: Need, room: Room, now_us: int, *, latest: bool
    ) -> tuple[int, Room] | None:
        """Return when there will be room, and how much then; None where that is unknown."""
        runs = self._running.items()
        ends = sorted((run.end_us(now_us, latest=latest), slot) for slot, run in runs)
        for at_us, slot in ends:
            room = room.give_back(self._running[slot].grant)
            if room.fits(need):
                return at_us, room
        return None
