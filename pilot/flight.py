"""The attempts in flight: which slot has which, and what of it the journal must hear."""

from __future__ import annotations

from collections.abc import Iterable

from pilot.attempts import OpenShard, Running, asked, begun
from pilot.core.agenda import Start
from pilot.recorder import Started


class Flight:
    """Attempts that slots were asked for and that did not end, by local number."""

    def __init__(self, slots: Iterable[int]) -> None:
        """Begin with none in any of the slots."""
        self.running: dict[int, Running] = {}
        self._in_slot: dict[int, list[int]] = {number: [] for number in slots}
        self._suspects: set[int] = set()  # of those that run; see `retry.is_suspect`
        self._news = Started()
        self._local = 0

    @property
    def has_suspect(self) -> bool:
        """Whether a task runs which one more loss may make poison."""
        return bool(self._suspects)

    def begin(self, number: int, shard: OpenShard, start: Start) -> Running:
        """Make the attempt at a task that a slot is to be asked for."""
        self._local += 1
        running = asked(shard, start, self._local)
        self.running[running.local] = running
        if start.suspect:
            self._suspects.add(running.local)
        self._in_slot[number].append(running.local)
        shard.running += 1
        self._news.begun.setdefault(shard.key, []).append(begun(running, number))
        return running

    def in_slot(self, number: int) -> list[Running]:
        """Return what a slot was asked for and has not reported, in the order of asking."""
        return [self.running[local] for local in self._in_slot[number]]

    def by_slot(self) -> dict[int, list[Running]]:
        """Return the same of all slots that have something to do."""
        return {number: self.in_slot(number) for number, some in self._in_slot.items() if some}

    def keepers(self) -> dict[int, int]:
        """Return what runs and can leave a checkpoint: local numbers, with their slots."""
        return {
            one.local: number
            for number, some in self.by_slot().items()
            for one in some
            if one.step.checkpoint.files
        }

    def leave_slot(self, number: int, running: Running) -> None:
        """Note that a slot has nothing to do with an attempt any more: it ends elsewhere."""
        if running.local in self._in_slot[number]:
            self._in_slot[number].remove(running.local)
        self._suspects.discard(running.local)

    def end(self, number: int, running: Running) -> None:
        """Note that an attempt ended."""
        self.leave_slot(number, running)
        del self.running[running.local]
        running.shard.running -= 1

    def hand_back(self, number: int, running: Running) -> None:
        """Note that an attempt was never begun."""
        self.end(number, running)
        self._news.back.setdefault(running.shard.key, []).append(running.local)

    def news(self) -> Started | None:
        """Return what began, and what was handed back, since the last call; None for nothing."""
        if not (self._news.begun or self._news.back):
            return None
        news, self._news = self._news, Started()
        return news
