"""Doing a whole transaction again where another one was in the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from central.errors import DatabaseBusy
from central.store.protocol import Store

T = TypeVar("T")
TIMES = 3


def in_transaction(store: Store, act: Callable[[], T], times: int = TIMES) -> T:
    """Act inside a transaction; begin again where it lost against another one (a deadlock).

    `act` must do the same each time it is called and leave nothing behind outside the store.
    Raises what `act` raises, and DatabaseBusy when it lost `times` times.
    """
    for last in range(times, 0, -1):
        try:
            with store.transaction():
                return act()
        except DatabaseBusy:
            if last == 1:
                raise
    raise AssertionError(times)
