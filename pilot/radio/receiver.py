"""Hears the site's relay: shards that are named, datasets that are gone, the site that drains.

The address is read from the spool, and believed if the site's key signed it. ZeroMQ is loaded when
there is one. While nothing is heard, for whatever reason, the pilot goes by the spool alone.
"""

from __future__ import annotations

import contextlib
import logging
import random
import selectors
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from bundle.errors import PulkError
from bundle.radio import address as addresses
from bundle.radio import curve, messages
from bundle.radio.address import Address
from bundle.radio.messages import Hello, News, State, Word
from bundle.spool.layout import ShardName, Spool
from bundle.trust.trust_file import TrustView
from pilot.radio.silence import RADIO, Silence

LOOK_S = 1.0  # the address is looked for so often while nothing is heard
LOOK_ON_AIR_S = 5.0
HELLO_S = 2.0  # without an answer
PATIENCE_BEATS = 2.6  # so many beats may fail before the relay counts as gone
ANEW_S, ANEW_S_MAX = 120.0, 900.0  # a connection that was never answered is made anew
SPREAD_S_MAX = 120.0
WANT_S = 5.0  # a pilot that waits says so again
OFFER_S = 4.0  # a named shard is somebody else's after that
SENT_MAX = 16  # messages that wait to be sent
HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS = 15_000, 60_000
RECONNECT_MS, RECONNECT_MS_MAX = 500, 15_000
GOOD_BYE_MS = 200

log = logging.getLogger("pulk.pilot")


class Receiver(Silence):
    """One pilot's radio. Changes of `is_heard` are told by `on_air`, news by `on_news`."""

    def __init__(
        self,
        spool: Spool,
        site: str,
        selector: selectors.BaseSelector,
        hello: Callable[[], Hello],
        state: Callable[[], State],
        on_air: Callable[[bool], None],
        on_news: Callable[[News], None],
        context: Any = None,
    ) -> None:
        """Make the key that the pilot's claim names; nothing is opened before `tick`.

        `context` is ZeroMQ's, of a process that has many pilots; else it has its own.
        """
        self._spool, self._site, self._selector = spool, site, selector
        self._hello, self._state = hello, state
        self._on_air, self._on_news = on_air, on_news
        self._secret = curve.new_secret()
        self.public_key = curve.public_of(self._secret)
        self._zmq: Any = None
        self._context: Any = context
        self._is_shared = context is not None
        self._socket: Any = None
        self._raw = b""
        self._open_at_s = float("inf")
        self._address: Address | None = None
        self._ticket = messages.NO_TICKET
        self._offers: deque[tuple[float, ShardName]] = deque()
        self._sealed = self._sealed_told = 0
        self._missing = False
        self.is_heard = False
        self.answered_s = 0.0  # when the relay last answered what this pilot wants
        now_s = time.monotonic()
        self._next_look_s = self._next_hello_s = now_s
        self._next_state_s = self._next_want_s = now_s
        self._heard_s = self._opened_s = now_s
        self._state_s, self._patience_s = 1.0, 15.0
        self._anew_s = ANEW_S

    @property
    def next_s(self) -> float:  # type: ignore[override]
        """When to tick again at the latest."""
        if self._missing:
            return float("inf")
        if self._socket is None:
            return min(self._next_look_s, self._open_at_s)
        due = self._next_state_s if self.is_heard else self._next_hello_s
        return min(due, self._next_look_s)

    def tick(self, now_s: float) -> None:
        """Do what is due."""
        if self._missing:
            return
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + (LOOK_ON_AIR_S if self.is_heard else LOOK_S)
            self._look(now_s)
        if now_s >= self._open_at_s:
            self._open()
        if self._socket is None:
            return
        self.on_ready()
        if self.is_heard and now_s - self._heard_s > self._patience_s:
            self._lose("silent")
        if self.is_heard:
            if now_s >= self._next_state_s:
                self._next_state_s = now_s + self._state_s
                self._send(messages.state(self._state(), self._ticket))
        elif now_s >= self._next_hello_s:
            self._next_hello_s = now_s + HELLO_S
            if now_s - max(self._opened_s, self._heard_s) > self._anew_s:
                # A refused key ends a connection for good, on this side too.
                self._anew_s = min(2 * self._anew_s, ANEW_S_MAX)
                self._open()
            self._send(messages.hello(self._hello()))
        self.on_ready()

    def on_ready(self) -> None:
        """Read what arrived. The descriptor tells of changes only, so all of it."""
        while self._socket is not None:
            try:
                if not self._socket.getsockopt(self._zmq.EVENTS) & self._zmq.POLLIN:
                    return
                frames = self._socket.recv_multipart(self._zmq.NOBLOCK)
            except self._zmq.ZMQError:
                return
            if len(frames) == 1:
                with contextlib.suppress(messages.MessageRefused):
                    self._on_frame(frames[0])

    def want(self, now_s: float) -> bool:
        """Ask the relay for a shard, unless it was asked of late."""
        if not self.is_heard or now_s < self._next_want_s:
            return False
        self._next_want_s = now_s + WANT_S
        self._send(messages.pack(Word.WANT, self._ticket))
        return True

    def offered(self, now_s: float) -> ShardName | None:
        """Return a shard that the relay named for this pilot."""
        while self._offers:
            until_s, name = self._offers.popleft()
            if now_s < until_s:
                return name
        return None

    def told(self, name: ShardName, *, taken: bool) -> None:
        """Tell what became of a shard that was named; the next may be asked for at once."""
        self._next_want_s = 0.0
        if self.is_heard:
            self._send(messages.took(str(name), self._ticket, taken=taken))

    def sealed(self, count: int) -> None:
        """Tell that seals wait in the spool, once for each number."""
        self._sealed = max(self._sealed, count)
        if self.is_heard and self._sealed > self._sealed_told:
            self._sealed_told = self._sealed
            self._send(messages.pack(Word.SEALED, self._ticket))

    def close(self) -> None:
        """Say good-bye."""
        if self.is_heard:
            self._send(messages.pack(Word.BYE, self._ticket))
        self._shut(GOOD_BYE_MS)
        if self._context is not None and not self._is_shared:
            self._context.term()

    # -- the connection ------------------------------------------------------------------

    def _look(self, now_s: float) -> None:
        """Read the address where it changed, and connect to it when it is this pilot's turn."""
        try:
            with self._spool.radio.open("rb") as file:
                raw = file.read(addresses.ADDRESS_LIMITS.bytes_max + 1)
        except FileNotFoundError:
            raw = b""
        except OSError:  # a shared filesystem that hesitates proves nothing
            return
        if raw == self._raw:
            return
        self._raw = raw
        found = self._read(raw) if raw else None
        if found is not None and self._address is not None and self._is_same(found):
            return  # said again
        self._address = found
        self._anew_s = ANEW_S
        self._lose("taken away" if found is None else "another is there")
        self._shut()
        self._open_at_s = float("inf")
        if found is not None:
            spread_s = min(found.spread_ms / 1000, SPREAD_S_MAX)
            self._open_at_s = now_s + random.uniform(0.0, spread_s)  # noqa: S311

    def _is_same(self, found: Address) -> bool:
        old = self._address
        return old is not None and (old.endpoint, old.server_key) == (
            found.endpoint,
            found.server_key,
        )

    def _read(self, raw: bytes) -> Address | None:
        try:
            trust = TrustView.load(self._spool.trust)
            found = addresses.decode(raw, trust, site=self._site, where=str(self._spool.radio))
        except PulkError as error:
            log.warning("radio passed over", extra={"reason": error.text()})
            return None
        low, high = found.versions
        return found if low <= messages.VERSION <= high else None

    def _open(self) -> None:
        self._open_at_s = float("inf")
        self._lose("changed")
        self._shut()
        zmq = self._load()
        if zmq is None or self._address is None:
            return
        self._opened_s = time.monotonic()
        self._next_hello_s = self._opened_s
        socket = None
        try:
            socket = self._context.socket(zmq.DEALER)
            for option, value in (
                (zmq.LINGER, 0),
                (zmq.IMMEDIATE, 1),
                (zmq.SNDHWM, SENT_MAX),
                (zmq.MAXMSGSIZE, messages.FRAME_BYTES_MAX),
                (zmq.HEARTBEAT_IVL, HEARTBEAT_MS),
                (zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS),
                (zmq.RECONNECT_IVL, RECONNECT_MS + random.randrange(RECONNECT_MS)),  # noqa: S311
                (zmq.RECONNECT_IVL_MAX, RECONNECT_MS_MAX),
                (zmq.IPV6, int("[" in self._address.endpoint)),
                (zmq.CURVE_SECRETKEY, self._secret),
                (zmq.CURVE_PUBLICKEY, self.public_key),
                (zmq.CURVE_SERVERKEY, self._address.server_key),
            ):
                socket.setsockopt(option, value)
            socket.connect(self._address.endpoint)
        except zmq.ZMQError as error:
            if socket is not None:
                socket.close(0)
            log.warning("radio not reached", extra={"reason": str(error)})
            return
        self._socket = socket
        self._selector.register(socket.getsockopt(zmq.FD), selectors.EVENT_READ, RADIO)

    def _load(self) -> Any:
        """Load ZeroMQ the first time that there is something to hear."""
        if self._zmq is None and not self._missing:
            try:
                import zmq
            except ImportError as error:
                self._missing = True
                log.warning("no radio: pyzmq is not here", extra={"reason": str(error)})
                return None
            self._zmq, self._context = zmq, self._context or zmq.Context()
        return self._zmq

    def _shut(self, linger_ms: int = 0) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket.getsockopt(self._zmq.FD))
            self._socket.close(linger_ms)
            self._socket = None

    def _lose(self, why: str) -> None:
        """Go by the spool from now on."""
        self._offers.clear()
        self._ticket = messages.NO_TICKET
        self._next_hello_s = self._next_want_s = 0.0
        if self.is_heard:
            self.is_heard = False
            self._next_look_s = 0.0
            log.info("relay not heard any more", extra={"reason": why})
            self._on_air(False)

    def _send(self, frame: bytes) -> None:
        """Send, or don't: the loop waits for nobody."""
        if self._socket is not None:
            with contextlib.suppress(self._zmq.ZMQError):
                self._socket.send(frame, self._zmq.NOBLOCK)

    # -- what is heard -------------------------------------------------------------------

    def _on_frame(self, frame: bytes) -> None:
        word, ticket, body = messages.unpack(frame)
        if word is Word.WELCOME:
            self._welcome(ticket, body)
            return
        if word is Word.WHO:
            self._lose("asked who this is")
            return
        if ticket != self._ticket or not self.is_heard:
            return
        self._heard_s = time.monotonic()
        match word:
            case Word.OFFER:
                self.answered_s = self._heard_s
                names = messages.read_offer(body)
                self._offers.extend((self._heard_s + OFFER_S, name) for name in names)
            case Word.NEWS:
                self._on_news(messages.read_news(body))
            case Word.BYE:
                self._lose("it said good-bye")
            case _:
                return

    def _welcome(self, ticket: bytes, body: bytes) -> None:
        state_ms, beat_ms = messages.read_welcome(body)
        self._ticket = ticket
        self._heard_s = time.monotonic()
        self._state_s = min(max(state_ms / 1000, 0.2), 60.0)
        self._patience_s = PATIENCE_BEATS * min(max(beat_ms / 1000, 0.2), 60.0)
        self._next_state_s = self._heard_s
        self._anew_s = ANEW_S
        self._offers.clear()
        if not self.is_heard:
            self.is_heard = True
            log.info("relay heard", extra={"slots": self._hello().slots})
            self._on_air(True)
            self.sealed(0)  # what was sealed while nobody heard
