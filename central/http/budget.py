"""How many calls of one kind run and wait at once, so that one kind never starves another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from bundle.ids import SiteName
from central.http.errors import Busy, SiteBusy

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

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for a place, or all are taken."""
        return self._waiting > 0 or self._places.locked()

    async def run(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what the call returns. Raises Busy and what it raises."""
        async with self.place():
            return await asyncio.to_thread(call, *args, **kwargs)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one place. Raises Busy where too many wait or the wait is too long."""
        await self.take()
        try:
            yield
        finally:
            self.give_back()

    def give_back(self) -> None:
        """Give back what was taken."""
        self._places.release()

    async def take(self) -> None:
        """Take one place. Raises Busy as `place` does."""
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


class PerSite:
    """So many places for each site, so that none takes all that there are for sites."""

    def __init__(self, running_max: int, waiting_max: int, wait_s_max: float) -> None:
        """Bound what one site runs, what waits of it, and the seconds that it waits."""
        self._limits = (running_max, waiting_max, wait_s_max)
        self._budgets: dict[SiteName, tuple[Budget, int]] = {}

    @asynccontextmanager
    async def place(self, site: SiteName) -> AsyncIterator[None]:
        """Hold one of a site's places. Raises SiteBusy as a budget raises Busy."""
        budget, users = self._budgets.get(site) or (Budget(site, *self._limits), 0)
        self._budgets[site] = (budget, users + 1)
        try:
            try:
                await budget.take()
            except Busy:
                raise SiteBusy(site=site) from None
            try:
                yield
            finally:
                budget.give_back()
        finally:
            budget, users = self._budgets.pop(site)
            if users > 1:
                self._budgets[site] = (budget, users - 1)
