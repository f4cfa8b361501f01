"""The door's loop: accept, read heads, hand over, answer asks; a little of each in every turn.

Nothing here waits for anybody: one turn takes a few milliseconds however many connections are
ready, and what a completion needs of it comes before any ask.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import random
import select
import socket
import time
from collections import deque

from bundle.errors import PulkError
from central.door import answers, words
from central.door.admission import Limits, Rate, come_back_s
from central.door.asking import Asking
from central.door.connection import Connection, State
from central.door.crowd import Crowd
from central.door.handing import Handing
from central.door.heads import HEAD_BYTES_MAX, Asks, kind_of, read_ask
from central.door.waiting import LOOK_S, Waiting
from central.http.errors import HeadTooLarge, TooManyAsks, TooManyConnections
from central.marks import Marks, Word

# Of each, so many in one turn:
EVENTS, ACCEPTS, ANSWERS, SHEDS = 128, 64, 6, 12
TURN_S = 0.002  # how long a turn waits where something waits for time to pass
REST_S = 0.25  # and where nothing does
SILENT_S_MAX = 5.0  # the server's loop; then /health says so
THROWN_BYTES = 1 << 16
_NO_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_LOG = logging.getLogger(__name__)


class Door:
    """See the module."""

    def __init__(
        self,
        listener: socket.socket,
        handing: Handing,
        questions: socket.socket,
        marks: Marks,
        limits: Limits,
        asking: Asking,
        waiting: Waiting,
    ) -> None:
        """Take over the listening socket, and the end of which the server holds the other."""
        self._listener, self._handing, self._questions = listener, handing, questions
        self._marks, self._limits, self._asking = marks, limits, asking
        self._waiting = waiting
        self._poll = select.epoll()
        self._crowd = Crowd(self._poll, limits)
        self._asks: deque[Connection] = deque()
        self._excess: deque[Connection] = deque()
        self._rate = Rate(limits.asks_per_s, max(16, limits.asks_per_s / 10))
        self._sheds = Rate(limits.sheds_per_s, max(32, limits.sheds_per_s / 10))
        self._replies = bytearray()
        self._open = True
        for own in (listener, questions):
            own.setblocking(False)
        self._poll.register(listener.fileno(), select.EPOLLIN)
        self._poll.register(questions.fileno(), select.EPOLLIN | select.EPOLLRDHUP)

    def run(self) -> None:
        """Serve until the server closes its end."""
        while self._open:
            events = self._poll.poll(self._pause_s(), EVENTS)
            now_s = time.monotonic()
            for number, event in events:
                self._on_event(number, event, now_s)
            self._open &= self._handing.hand_over(self._crowd)
            self._answer_asks(now_s)
            self._answer_waiting(now_s)
            self._shed(now_s)
            self._send_questions()
            for one in self._crowd.overdue(now_s):
                self._give_up(one, now_s)
            self._marks.beat(Word.DOOR_BEAT_MS)
        self._crowd.close()

    def _pause_s(self) -> float:
        waits = self._asks or self._excess or self._asking.unsent
        if waits or self._handing:
            return TURN_S
        return LOOK_S if self._waiting else REST_S

    def _on_event(self, number: int, event: int, now_s: float) -> None:
        if number == self._listener.fileno():
            self._accept(now_s)
        elif number == self._questions.fileno():
            self._take_replies(now_s)
        elif one := self._crowd.get(number):
            self._on_connection(one, event, now_s)

    def _accept(self, now_s: float) -> None:
        for _ in range(ACCEPTS):
            try:
                sock, peer = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_FILES and not self._crowd.make_room():
                    time.sleep(TURN_S)  # somebody else has them all; the server's come back
                    return
                continue
            sock.setblocking(False)
            if self._crowd.is_full_for(peer[0]):
                refusal = answers.refusal(TooManyConnections(), keep=False, come_back_s=_spread_s())
                with contextlib.suppress(OSError):
                    sock.send(refusal)
                sock.close()
                continue
            self._crowd.add(sock, peer[0], now_s)

    def _on_connection(self, one: Connection, event: int, now_s: float) -> None:
        if event & (select.EPOLLHUP | select.EPOLLERR):
            self._crowd.drop(one)
            return
        match one.state:
            case State.UNREAD | State.IDLE:
                if event & (select.EPOLLIN | select.EPOLLRDHUP):
                    self._read(one, now_s)
            case State.QUEUED | State.WAITING | State.HOLDING:
                one.stirred |= bool(event & select.EPOLLIN)
                if event & select.EPOLLRDHUP:
                    self._crowd.drop(one)  # who asked is gone
            case State.SAYING:
                self._say(one, one.out, now_s, keep=one.keep)
            case State.DRAINING:
                self._throw_away(one)
            case State.PENDING | State.GONE:
                pass

    def _read(self, one: Connection, now_s: float) -> None:
        """Look at the head without taking it, and decide where the connection goes."""
        try:
            raw = one.sock.recv(HEAD_BYTES_MAX, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            raw = b""
        if not raw:
            self._crowd.drop(one)
            return
        kind = kind_of(raw)
        if kind is Asks.WORK:
            one.ask = read_ask(raw)
            kind = kind if one.ask is not None else Asks.OTHER
            one.stirred = one.ask is not None and len(raw) > one.ask.size  # the next one is there
        match kind:
            case None if len(raw) >= HEAD_BYTES_MAX:
                refusal = answers.refusal(HeadTooLarge(size_bytes_max=HEAD_BYTES_MAX), keep=False)
                self._say(one, refusal, now_s, keep=False)
            case None:
                if one.state is State.IDLE:
                    self._crowd.move(one, State.UNREAD, now_s)
            case Asks.WORK:
                self._crowd.move(one, State.QUEUED, now_s)
                is_much = len(self._asks) >= self._limits.queue
                (self._excess if is_much else self._asks).append(one)
            case Asks.HEALTH:
                silent_s = self._marks.silent_s(Word.SERVER_BEAT_MS)
                self._say(one, answers.health(silent_s, SILENT_S_MAX), now_s, keep=False)
            case Asks.COMPLETION | Asks.READ | Asks.OTHER:
                self._handing.wait(one, kind, self._crowd, now_s)

    def _answer_asks(self, now_s: float) -> None:
        for _ in range(ANSWERS):
            while self._asks and self._asks[0].state is not State.QUEUED:
                self._asks.popleft()
            if not self._asks and self._excess:
                self._asks.append(self._excess.popleft())
                continue
            if not self._asks or not self._rate.take(now_s):
                return
            self._answer(self._asks.popleft(), now_s)

    def _answer(self, one: Connection, now_s: float) -> None:
        ask = one.ask
        assert ask is not None  # noqa: S101  only asks are queued
        try:
            body = self._asking.body_for(ask, one, now_s)
        except TooManyAsks:
            refusal = answers.answer(
                429, answers.TOO_MANY_ASKS, keep=ask.keep, come_back_s=_spread_s()
            )
            self._finish(one, refusal, now_s)
        except PulkError as error:
            self._finish(one, answers.refusal(error, keep=False), now_s, keep=False)
        except Exception:
            _LOG.exception("failed", extra={"route": ask.path})
            self._finish(one, answers.answer(500, b"{}\n", keep=False), now_s, keep=False)
        else:
            if body is None:
                self._crowd.move(one, State.WAITING, now_s)
            else:
                self._tell(one, body, now_s)

    def _tell(self, one: Connection, body: bytes, now_s: float) -> None:
        """Answer an ask, or let it wait for news where it has that answer."""
        if self._waiting.take(one, body, self._asking.trusted(), now_s):
            self._crowd.move(one, State.HOLDING, now_s)
        else:
            keep = one.ask is not None and one.ask.keep
            self._finish(one, answers.answer(200, body, keep=keep), now_s)

    def _answer_waiting(self, now_s: float) -> None:
        for site, trusted in self._waiting.due(now_s):
            is_over = trusted != self._asking.trusted()  # they are checked again when they ask
            body = None if is_over else self._asking.news_for(site, now_s)
            for one, news in self._waiting.released(site, body, now_s, is_over=is_over):
                keep = one.ask is not None and one.ask.keep
                status, said = (304, b"") if news is None else (200, news)
                self._finish(one, answers.answer(status, said, keep=keep), now_s)

    def _shed(self, now_s: float) -> None:
        """Ask some of those who are too many to come back."""
        for _ in range(SHEDS):
            while self._excess and self._excess[0].state is not State.QUEUED:
                self._excess.popleft()
            if not self._excess or not self._sheds.take(now_s):
                return
            one = self._excess.popleft()
            assert one.ask is not None  # noqa: S101  only asks are queued
            waiting = len(self._asks) + len(self._excess)
            after_s = come_back_s(waiting, self._limits.asks_per_s, random.random())  # noqa: S311
            keep = one.ask.keep
            said = answers.answer(429, answers.TOO_MANY_ASKS, keep=keep, come_back_s=after_s)
            self._finish(one, said, now_s)

    def _send_questions(self) -> None:
        unsent = self._asking.unsent
        while unsent:
            try:
                sent = self._questions.send(unsent[0])
            except BlockingIOError:
                return
            except OSError:
                self._open = False
                return
            if sent < len(unsent[0]):
                unsent[0] = unsent[0][sent:]
                return
            unsent.popleft()

    def _take_replies(self, now_s: float) -> None:
        try:
            came = self._questions.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            came = b""
        if not came:
            self._open = False
            return
        self._replies += came
        for reply in words.take_replies(self._replies):
            for one in self._asking.replied(reply, now_s):
                if one.state is not State.WAITING or one.ask is None:
                    continue
                if reply.status == 200:
                    self._tell(one, reply.body, now_s)
                    continue
                after_s = reply.come_back_s
                said = answers.answer(reply.status, reply.body, keep=False, come_back_s=after_s)
                self._finish(one, said, now_s, keep=False)

    def _finish(self, one: Connection, said: bytes, now_s: float, *, keep: bool = True) -> None:
        """Take an ask's head off its connection and say the answer."""
        ask = one.ask
        assert ask is not None  # noqa: S101  only asks are finished
        one.ask = None
        try:
            one.sock.recv(ask.size)
        except OSError:
            self._crowd.drop(one)
            return
        self._say(one, said, now_s, keep=keep and ask.keep)

    def _say(self, one: Connection, said: bytes, now_s: float, *, keep: bool) -> None:
        """Send an answer, or what fits of it now; then the connection goes on or ends."""
        try:
            sent = one.sock.send(said)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._crowd.drop(one)
            return
        if sent < len(said):
            one.out, one.keep = said[sent:], keep
            if one.state is not State.SAYING:
                self._crowd.move(one, State.SAYING, now_s)
            return
        one.out = b""
        if not keep:
            self._crowd.move(one, State.DRAINING, now_s)
            with contextlib.suppress(OSError):
                one.sock.shutdown(socket.SHUT_WR)
            self._throw_away(one)
            return
        self._crowd.move(one, State.IDLE, now_s)
        if one.stirred:
            one.stirred = False
            self._read(one, now_s)

    def _throw_away(self, one: Connection) -> None:
        """Read on for a while, so that the answer is not lost with a reset."""
        try:
            for _ in range(16):
                if not one.sock.recv(THROWN_BYTES):
                    self._crowd.drop(one)
                    return
        except BlockingIOError:
            return
        except OSError:
            self._crowd.drop(one)

    def _give_up(self, one: Connection, now_s: float) -> None:
        """End what has taken too long: with an answer where somebody waits for one."""
        if one.state in (State.WAITING, State.PENDING, State.QUEUED):
            said = answers.answer(503, answers.BUSY, keep=False, come_back_s=_spread_s())
            self._say(one, said, now_s, keep=False)
        else:
            self._crowd.drop(one)


def _spread_s() -> int:
    return come_back_s(0, 1, random.random())  # noqa: S311  no secret
