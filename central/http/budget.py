"""How many calls of one kind run and wait at once, so that one kind never starves another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from central.http.errors import Busy

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Budget:
    """Places for calls to the authority, which blocks: each runs in a thread."""

    def __init__(self, name: str, running_max: int, waiting_max: int, wait_s_max: float) -> None:
        """Bound the calls that run, those that wait, and the seconds they wait."""
        self.name = name
        self.running_max = running_max
        self._waiting_max = waiting_max
        self._wait_s_max = wait_s_max
        self._waiting = 0
        self._places = asyncio.Semaphore(running_max)

    async def run(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what the call returns. Raises Busy and what it raises."""
        async with self.place():
            return await asyncio.to_thread(call, *args, **kwargs)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one place. Raises Busy where too many wait or the wait is too long."""
        await self._take()
        try:
            yield
        finally:
            self._places.release()

    async def _take(self) -> None:
        if self._waiting >= self._waiting_max and self._places.locked():
            raise Busy(what_for=self.name)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_s_max):
                await self._places.acquire()
        except TimeoutError:
            raise Busy(what_for=self.name) from None
        finally:
            self._waiting -= 1


class Budgets:
    """The budgets of one server. What sites bring has its own, and so has what they fetch."""

    def __init__(self, concurrent_uploads: int) -> None:
        """Make them; `uploads` bounds bodies under way, `completions` merges."""
        self.uploads = Budget("uploads", concurrent_uploads, 256, 20.0)
        self.completions = Budget("completions", 2, 1024, 25.0)
        self.work = Budget("work", 2, 256, 20.0)
        self.reads = Budget("reads", 4, 256, 10.0)
        self.writes = Budget("writes", 2, 64, 20.0)
        self.files = Budget("files", 2, 64, 20.0)

    @property
    def threads(self) -> int:
        """How many threads all of them can need at once."""
        kinds = (self.uploads, self.completions, self.work, self.reads, self.writes, self.files)
        return sum(one.running_max for one in kinds) + 2
