"""A budget that people share: places in turn by person, so that none waits for another's many.

A person's request is in it under the person's name (`asking`); before a token is looked up it is
under no name, and then nothing but the whole budget bounds it. An answer that goes on piece by
piece was let in once (`goes_on`): its next piece waits its turn, whatever came after it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from central.http.budget import Budget
from central.http.errors import Busy, TooManyAtOnce

asking: ContextVar[str] = ContextVar("asking", default="")
goes_on: ContextVar[bool] = ContextVar("goes_on", default=False)
NOBODY = ""


class SharedBudget(Budget):
    """See the module. Used by one event loop."""

    def __init__(
        self,
        name: str,
        running_max: int,
        waiting_max: int,
        wait_s_max: float,
        *,
        each: tuple[int, int],
    ) -> None:
        """Bound it as a budget is, and `each` person's calls that run and that wait."""
        super().__init__(name, running_max, waiting_max, wait_s_max)
        self._each_running_max, self._each_waiting_max = each
        self._free = running_max
        self._runs: Counter[str] = Counter()
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._new: Counter[str] = Counter()  # of those that wait, who was not let in before

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for a place, or all are taken."""
        return bool(self._queues) or self._free <= 0

    async def take(self) -> None:
        """Take one place, in turn.

        Raises TooManyAtOnce for a person's own many, Busy for all's; neither where an answer goes
        on.
        """
        who = asking.get()
        if not self._free or who in self._queues or not self._may_run(who):
            await self._wait(who)
        else:
            self._grant(who)

    def give_back(self) -> None:
        """Give back what was taken; the next person's turn it is."""
        self._take_back(asking.get())

    async def _wait(self, who: str) -> None:
        if goes_on.get():
            await self._turn(who, None)
            return
        self._check_waiting(who)
        self._new[who] += 1
        try:
            await self._turn(who, self._wait_s_max)
        finally:
            self._new -= Counter((who,))  # none is kept at nought

    async def _turn(self, who: str, wait_s_max: float | None) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(who, deque()).append(turn)
        try:
            async with asyncio.timeout(wait_s_max):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._take_back(who)  # it was given at the same moment
            self._leave(who, turn)
            if isinstance(error, TimeoutError):
                raise Busy(what_for=self.name) from None
            raise

    def _check_waiting(self, who: str) -> None:
        if who != NOBODY and self._new[who] >= self._each_waiting_max:
            raise TooManyAtOnce(what_for=self.name, at_once=self._each_waiting_max)
        if self._new.total() >= self._waiting_max:
            raise Busy(what_for=self.name)

    def _may_run(self, who: str) -> bool:
        return who == NOBODY or self._runs[who] < self._each_running_max

    def _grant(self, who: str) -> None:
        self._free -= 1
        self._runs[who] += 1

    def _take_back(self, who: str) -> None:
        self._free += 1
        self._runs[who] -= 1
        if not self._runs[who]:
            del self._runs[who]
        self._go_on()

    def _go_on(self) -> None:
        """Give what is free to those who wait: each person in turn, of each the oldest request."""
        for who in list(self._queues):
            if not self._free:
                return
            if not self._may_run(who):
                continue
            queue = self._queues[who]
            while queue and queue[0].done():  # it gave up
                queue.popleft()
            if queue:
                self._grant(who)
                queue.popleft().set_result(None)
                self._queues.move_to_end(who)
            if not queue:
                self._queues.pop(who, None)

    def _leave(self, who: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(who)
        if queue is not None:
            if turn in queue:
                queue.remove(turn)
            if not queue:
                del self._queues[who]


class Streams:
    """How many answers that go on for long each person has open."""

    def __init__(self, each_max: int) -> None:
        """Bound those of one person."""
        self._each_max = each_max
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self, who: str) -> Iterator[None]:
        """Hold one open. Raises TooManyAtOnce."""
        if self._open[who] >= self._each_max:
            raise TooManyAtOnce(what_for="streams", at_once=self._each_max)
        self._open[who] += 1
        try:
            yield
        finally:
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]
