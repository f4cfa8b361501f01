"""Addresses take turns: one with a thousand connections that wait holds up another one's by one."""

from __future__ import annotations

from collections import OrderedDict, deque

from central.door.connection import Connection, State


class Turns:
    """Connections that wait for room at the server, in order within each address."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._by: OrderedDict[str, deque[Connection]] = OrderedDict()

    def __bool__(self) -> bool:
        """Return whether anybody may be waiting."""
        return bool(self._by)

    def append(self, one: Connection) -> None:
        """Let one wait behind those of its address."""
        self._by.setdefault(one.address, deque()).append(one)

    def next_one(self) -> Connection | None:
        """Return whose turn it is, who stays first; those that left meanwhile are forgotten."""
        while self._by:
            address, waiting = next(iter(self._by.items()))
            while waiting and waiting[0].state is not State.PENDING:
                waiting.popleft()
            if waiting:
                return waiting[0]
            del self._by[address]
        return None

    def took(self, one: Connection) -> None:
        """Note that one had its turn: its address comes last now."""
        waiting = self._by.pop(one.address)
        waiting.popleft()
        if waiting:
            self._by[one.address] = waiting
