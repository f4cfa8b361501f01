"""Connections that the door hands to another process: who waits for room there, who was let in."""

from __future__ import annotations

import logging
import socket

from central.door import words
from central.door.admission import Limits
from central.door.connection import Connection, State
from central.door.crowd import Crowd
from central.door.heads import Asks
from central.door.turns import Turns
from central.marks import Marks, Word

ENDED = {
    words.COMPLETION: Word.COMPLETIONS_ENDED,
    words.READ: Word.READS_ENDED,
    words.OTHER: Word.OTHERS_ENDED,
}
_WORDS = {Asks.COMPLETION: words.COMPLETION, Asks.READ: words.READ}
_LOG = logging.getLogger(__name__)


class Handing:
    """See the module. What is for a reader that is gone is for the server."""

    def __init__(
        self, server: socket.socket, reader: socket.socket, marks: Marks, limits: Limits
    ) -> None:
        """Hand over through these two ends."""
        self._hands = {words.COMPLETION: server, words.READ: reader, words.OTHER: server}
        self._marks = marks
        self._most = {
            words.COMPLETION: limits.completions,
            words.READ: limits.others,
            words.OTHER: limits.others,
        }
        self._pending = {word: Turns() for word in self._hands}  # completions come first
        self._handed = dict.fromkeys(self._hands, 0)

    def __bool__(self) -> bool:
        """Return whether anybody may be waiting."""
        return any(self._pending.values())

    def wait(self, one: Connection, kind: Asks, crowd: Crowd, now_s: float) -> None:
        """Let a connection wait for its turn."""
        crowd.move(one, State.PENDING, now_s)
        word = _WORDS.get(kind, words.OTHER)
        self._pending[word if word in self._hands else words.OTHER].append(one)

    def hand_over(self, crowd: Crowd) -> bool:
        """Give each process what it has room for; return False once the server is gone."""
        for word, hand in list(self._hands.items()):
            try:
                self._hand_over(word, hand, crowd)
            except BlockingIOError:
                continue
            except OSError:
                if word != words.READ:
                    return False
                self._do_without_reader()
        return True

    def _hand_over(self, word: bytes, hand: socket.socket, crowd: Crowd) -> None:
        pending = self._pending[word]
        while self._has_room(word) and (one := pending.next_one()):
            socket.send_fds(hand, [word], [one.number])
            self._handed[word] += 1
            pending.took(one)
            crowd.release(one).close()

    def _has_room(self, word: bytes) -> bool:
        return self._handed[word] - self._marks.value(ENDED[word]) < self._most[word]

    def _do_without_reader(self) -> None:
        _LOG.error("the reader is gone; the server answers reads itself until it starts again")
        del self._hands[words.READ]
        waiting = self._pending.pop(words.READ)
        while one := waiting.next_one():
            waiting.took(one)
            self._pending[words.OTHER].append(one)
