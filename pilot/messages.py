"""Messages between the pilot and its slots: length-prefixed msgpack over a socketpair."""

from __future__ import annotations

import socket
from typing import Any

import msgpack

LENGTH_BYTES = 4
RECEIVE_BYTES = 1 << 18


def pack(message: dict[str, Any]) -> bytes:
    """Return the bytes of one message."""
    body = msgpack.packb(message, use_bin_type=True)
    return len(body).to_bytes(LENGTH_BYTES, "big") + bytes(body)


class Channel:
    """One end of a socketpair."""

    def __init__(self, end: socket.socket) -> None:
        """Wrap a connected stream socket."""
        self.socket = end
        self._buffer = bytearray()

    def send(self, message: dict[str, Any]) -> None:
        """Send a whole message. Raises OSError where the other end is gone."""
        self.socket.sendall(pack(message))

    def receive(self) -> dict[str, Any] | None:
        """Wait for one message and take no byte of the next; None where the other end is gone.

        What came behind it stays with the socket, where a poll sees it: a stop that is read with
        its task, and kept here, would be heard with the message after it.
        """
        while (message := self._taken()) is None:
            if not self._fill(self._past() - len(self._buffer)):
                return None
        return message

    def arrived(self) -> list[dict[str, Any]] | None:
        """Read once what is there and return the whole messages; None at the end."""
        if not self._fill(RECEIVE_BYTES):
            return None
        messages = []
        while (message := self._taken()) is not None:
            messages.append(message)
        return messages

    def _fill(self, most: int) -> bool:
        try:
            data = self.socket.recv(most)
        except ConnectionError:
            return False
        self._buffer += data
        return bool(data)

    def _past(self) -> int:
        """Return where the message that comes next ends; its length does, while that lacks."""
        if len(self._buffer) < LENGTH_BYTES:
            return LENGTH_BYTES
        return LENGTH_BYTES + int.from_bytes(self._buffer[:LENGTH_BYTES], "big")

    def _taken(self) -> dict[str, Any] | None:
        past = self._past()
        if len(self._buffer) < past:
            return None
        body = bytes(self._buffer[LENGTH_BYTES:past])
        del self._buffer[:past]
        message: dict[str, Any] = msgpack.unpackb(body, raw=False, strict_map_key=False)
        return message
