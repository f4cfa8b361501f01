"""All connections at the door, by state and age: who has waited too long, who must make room."""

from __future__ import annotations

import contextlib
import select
import socket
from collections import Counter, OrderedDict
from collections.abc import Iterator

from central.door.admission import Limits
from central.door.connection import Connection, State

WATCHED = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
# Seconds that a connection may stay in a state; IDLE is the keep-alive.
STAY_S_MAX = {
    State.UNREAD: 10.0,
    State.IDLE: 30.0,
    State.QUEUED: 60.0,
    State.WAITING: 10.0,
    State.HOLDING: 700.0,  # each has a time of its own, which ends before
    State.PENDING: 15.0,
    State.SAYING: 10.0,
    State.DRAINING: 2.0,
}
# Who goes first when there is no more room. One whose completion waits is never sent away for it.
GIVES_WAY = (
    State.DRAINING,
    State.IDLE,
    State.HOLDING,
    State.SAYING,
    State.QUEUED,
    State.WAITING,
    State.UNREAD,
)


class Crowd:
    """See the module. Registers connections for edges: what comes is told once."""

    def __init__(self, poll: select.epoll, limits: Limits) -> None:
        """Begin with nobody."""
        self._poll = poll
        self._limits = limits
        self._all: dict[int, Connection] = {}
        self._by: dict[State, OrderedDict[int, Connection]] = {
            state: OrderedDict() for state in State if state is not State.GONE
        }
        self._addresses: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._all)

    def count(self, state: State) -> int:
        """Return how many are in a state."""
        return len(self._by[state])

    def get(self, number: int) -> Connection | None:
        """Return a connection by its descriptor."""
        return self._all.get(number)

    def is_full_for(self, address: str) -> bool:
        """Return whether an address has all the connections that it may."""
        most = self._limits.per_address
        return bool(most) and self._addresses[address] >= most

    def add(self, sock: socket.socket, address: str, now_s: float) -> Connection:
        """Take a new connection in; another one goes where there is no room."""
        if len(self._all) >= self._limits.connections:
            self.make_room()
        if self.count(State.UNREAD) >= self._limits.unread:
            self.drop(next(iter(self._by[State.UNREAD].values())))
        one = Connection(sock, sock.fileno(), address, now_s)
        self._all[one.number] = self._by[one.state][one.number] = one
        self._addresses[address] += 1
        self._poll.register(one.number, WATCHED)
        return one

    def move(self, one: Connection, state: State, now_s: float) -> None:
        """Bring a connection into a state."""
        del self._by[one.state][one.number]
        one.state, one.since_s = state, now_s
        self._by[state][one.number] = one

    def make_room(self) -> bool:
        """Drop the one that has least to lose; False where nobody gives way."""
        for state in GIVES_WAY:
            if self._by[state]:
                self.drop(next(iter(self._by[state].values())))
                return True
        return False

    def release(self, one: Connection) -> socket.socket:
        """Forget a connection without closing it: its copy elsewhere goes on."""
        with contextlib.suppress(OSError):
            self._poll.unregister(one.number)
        del self._all[one.number]
        del self._by[one.state][one.number]
        one.state = State.GONE
        self._addresses[one.address] -= 1
        if not self._addresses[one.address]:
            del self._addresses[one.address]
        return one.sock

    def drop(self, one: Connection) -> None:
        """Close a connection."""
        if one.state is not State.GONE:
            self.release(one).close()

    def overdue(self, now_s: float) -> Iterator[Connection]:
        """Yield those that have stayed too long in their state; each must be moved or dropped."""
        for state, ones in self._by.items():
            while ones:
                one = next(iter(ones.values()))
                if now_s - one.since_s <= STAY_S_MAX[state]:
                    break
                yield one

    def close(self) -> None:
        """Close all."""
        for one in list(self._all.values()):
            self.drop(one)
