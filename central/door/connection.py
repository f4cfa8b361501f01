"""One connection at the door."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import StrEnum

from central.door.heads import Ask


class State(StrEnum):
    """Where a connection stands."""

    UNREAD = "unread"  # its head has not come whole
    IDLE = "idle"  # it was answered and may ask again
    QUEUED = "queued"  # its ask waits to be looked at
    WAITING = "waiting"  # its ask waits for the server's reply
    HOLDING = "holding"  # it was told all there is and waits for news
    PENDING = "pending"  # it waits for room at the server
    SAYING = "saying"  # its answer does not fit into the socket yet
    DRAINING = "draining"  # it was told to go; what it still sends is thrown away
    GONE = "gone"


@dataclass(slots=True, eq=False)
class Connection:
    """`since_s`: when it came into its state. `stirred`: more came while it waited.

    `until_s`: until when it waits for news at most.
    """

    sock: socket.socket
    number: int  # its file descriptor, also after the socket is closed
    address: str
    since_s: float
    state: State = State.UNREAD
    ask: Ask | None = None
    stirred: bool = False
    out: bytes = b""
    keep: bool = False  # once `out` is said
    until_s: float = 0.0
