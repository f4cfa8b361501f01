"""The station: hears pilots, hands out names of shards, tells at once what is new in the spool.

Nothing here is the only word on anything. It reads the spool and writes one file there, its own
address: a pilot that hears it is quicker, and one that does not misses nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable

import zmq

from bundle.errors import PulkError
from bundle.ids import PilotRun, SiteName
from bundle.radio import address as addresses
from bundle.radio import curve, messages
from bundle.radio.address import Address
from bundle.radio.messages import News, Word
from bundle.spool import publish
from bundle.spool.layout import ShardName
from relay import works
from relay.core.hand_out import HandOut
from relay.home import Home, now_us
from relay.listing import names
from relay.radio import sockets
from relay.radio.allow import READER, AllowList, reader_secret
from relay.radio.crew import Crew, Heard
from relay.radio.sockets import Gate
from relay.radio.unwanted import Unwanted

_LOG = logging.getLogger(__name__)

LOOK_S = 1.0  # what is unwanted and drain are looked at so often
LIST_S = 1.0  # and what is on offer, while pilots wait
LIST_SOON_S = 0.1
BEAT_S = 5.0
STATE_S = 1.0
GREETINGS_PER_S = 500  # connections that all pilots together should make
STATES_PER_S = 5000  # beyond so many pilots each says less often what it does
SAY_S = 20.0  # the address is said again so often, for another relay to see that this one lives
STALE_S = 90.0  # an address that was not said again for so long is nobody's
TURN_MAX = 2000  # messages that are heard before anything else is looked at
SPARE_DESCRIPTORS = 64


class Station:
    """One process's radio. `ring` is called when a tick would find something new."""

    def __init__(self, home: Home, ring: Callable[[], None]) -> None:
        """Listen and say where. Raises ListenRefused."""
        self._home, self._spool, self._ring = home, home.spool, ring
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        radio = home.config.radio
        secret = curve.new_secret()
        self._server_key = curve.public_of(secret)
        reader = curve.public_of(reader_secret(home.signer))
        self._gate = Gate(self._context, AllowList(self._spool, reader))
        try:
            self._listening = sockets.listen(
                self._context, self._spool.root, radio.listen, radio.reach, secret
            )
        except BaseException:
            self._context.destroy(0)
            raise
        self._socket = self._listening.socket
        self._crew, self._hand_out = Crew(), HandOut()
        self._readers: dict[bytes, bytes] = {}
        self._unwanted = Unwanted(self._spool)
        self._drains = False
        self.is_rival = self._said = False
        now_s = time.monotonic()
        self._next_look_s = self._next_list_s = now_s
        self._next_beat_s, self._next_say_s = now_s + BEAT_S, now_s
        self._look(now_s)
        self._say(now_s)

    @property
    def endpoint(self) -> str:
        """Where it is heard."""
        return self._listening.endpoint

    def serve(self, stop: int) -> None:
        """Serve until a descriptor ends; each byte from it says that shards may be on offer."""
        poller = zmq.Poller()
        for one in (self._socket, self._gate.socket, stop):
            poller.register(one, zmq.POLLIN)
        while True:
            ready = dict(poller.poll(max(0, round(1000 * (self._next_s() - time.monotonic())))))
            now_s = time.monotonic()
            if stop in ready:
                if not os.read(stop, 4096):
                    return
                self._list(now_s)
            self._gate.ask(now_s)
            if self._socket in ready:
                self._hear(now_s)
            self._due(now_s)

    def close(self) -> None:
        """Say good-bye, and take the address away where it is this process's."""
        for one in self._crew:
            self._send(one.route, messages.pack(Word.BYE, one.ticket))
        with contextlib.suppress(OSError, PulkError):
            if self._own_address():
                self._spool.radio.unlink()
        time.sleep(0.1 if len(self._crew) else 0)  # what was said leaves by another thread
        sockets.close(self._listening)
        self._context.destroy(0)

    # -- hearing -------------------------------------------------------------------------

    def _hear(self, now_s: float) -> None:
        for _ in range(TURN_MAX):
            try:
                route = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            one, who = self._crew.at(route), ""
            if one is not None:
                frame = self._socket.recv()
            else:
                told = self._socket.recv(copy=False)
                frame = told.bytes
                with contextlib.suppress(zmq.ZMQError):
                    who = str(told.get("User-Id"))
            if self._socket.getsockopt(zmq.RCVMORE):
                while self._socket.getsockopt(zmq.RCVMORE):
                    self._socket.recv()
                continue
            try:
                if one is None:
                    self._meet(route, who, frame, now_s)
                elif one.may_speak(now_s):
                    self._on_frame(one, frame, now_s)
            except messages.MessageRefused as error:
                _LOG.debug("message dropped", extra={"reason": error.text()})

    def _meet(self, route: bytes, who: str, frame: bytes, now_s: float) -> None:
        """Hear a connection that has no ticket yet; the gate said whose it is."""
        word, _, body = messages.unpack(frame)
        if who == READER:
            if word is Word.LOOK:
                self._show(route, messages.read_look(body), now_s)
            return
        try:
            run = PilotRun(bytes.fromhex(who))
        except ValueError:
            return
        if word is not Word.HELLO:
            self._send(route, messages.pack(Word.WHO))
            return
        hello = messages.read_hello(body)
        low, high = hello.versions
        if not low <= messages.VERSION <= high:
            self._send(route, messages.pack(Word.SORRY))
            return
        self._hand_out.forget(run)
        one = self._crew.welcome(route, run, hello, now_s)
        state_s = max(STATE_S, len(self._crew) / STATES_PER_S)
        self._send(route, messages.welcome(one.ticket, round(1000 * state_s), round(1000 * BEAT_S)))
        self._tell_news(one)

    def _on_frame(self, one: Heard, frame: bytes, now_s: float) -> None:
        word, ticket, body = messages.unpack(frame)
        if ticket != one.ticket:
            if word is Word.HELLO:  # the same connection, a pilot that lost its ticket
                self._send(one.route, messages.pack(Word.WHO))
                self._forget(one.run)
            return
        match word:
            case Word.STATE:
                one.state, one.state_s = body, now_s
            case Word.WANT:
                name = self._hand_out.want(one.run, now_s)
                if name is None and now_s >= self._next_list_s:
                    self._list(now_s)
                    name = self._hand_out.want(one.run, now_s)
                self._offer(one, name)
            case Word.TOOK:
                shard, taken = messages.read_took(body)
                self._hand_out.took(one.run, shard, taken=taken)
                if not taken:
                    self._next_list_s = min(self._next_list_s, now_s + LIST_SOON_S)
            case Word.SEALED:
                self._ring()
            case Word.BYE:
                self._forget(one.run)
                self._ring()
            case _:
                return

    # -- telling -------------------------------------------------------------------------

    def _offer(self, one: Heard, name: ShardName | None) -> None:
        self._send(one.route, messages.offer([str(name)] if name else [], one.ticket))

    def _tell_news(self, one: Heard) -> None:
        gone, off = sorted(self._unwanted.datasets), sorted(self._unwanted.leases)
        if self._drains or gone or off:
            news = News(tuple(gone[-messages.GONE_MAX :]), self._drains, tuple(off))
            self._send(one.route, messages.news(news, one.ticket))

    def _show(self, route: bytes, after: bytes, now_s: float) -> None:
        rows, last = self._crew.page(after, messages.PAGE_BYTES_MAX // 2, now_s)
        self._send(route, messages.page(rows, messages.NO_TICKET, last=last))

    def _send(self, route: bytes, frame: bytes) -> None:
        """Send, or don't: nothing waits for a pilot that does not listen."""
        try:
            self._socket.send_multipart([route, frame], zmq.NOBLOCK, copy=True)
        except zmq.Again:
            return
        except zmq.ZMQError:
            one = self._crew.at(route)
            if one is not None:
                self._forget(one.run)

    def _forget(self, run: PilotRun) -> None:
        self._crew.forget(run)
        self._hand_out.forget(run)

    # -- what is due ---------------------------------------------------------------------

    def _next_s(self) -> float:
        due = min(self._next_look_s, self._next_beat_s, self._next_say_s, self._gate.next_s())
        return min(due, self._next_list_s) if self._hand_out.waiting else due

    def _due(self, now_s: float) -> None:
        if now_s >= self._next_look_s:
            self._look(now_s)
        if now_s >= self._next_list_s and self._hand_out.waiting and not self._hand_out.idle:
            self._list(now_s)
        if now_s >= self._next_beat_s:
            self._next_beat_s = now_s + BEAT_S
            for run in self._crew.silent(now_s):
                self._forget(run)
            for one in self._crew:
                self._send(one.route, messages.pack(Word.BEAT, one.ticket))
        if now_s >= self._next_say_s:
            self._say(now_s)

    def _list(self, now_s: float) -> None:
        """Look at what is on offer, and tell who waits."""
        self._next_list_s = now_s + LIST_S
        self._hand_out.see(works.shards_in(self._spool.folder("claimable")), now_s)
        for run, name in self._hand_out.pushes(now_s):
            if (one := self._crew.of(run)) is not None:
                self._offer(one, name)

    def _look(self, now_s: float) -> None:
        """See whether something was deleted or called off, or the site drains; say so at once."""
        self._next_look_s = now_s + LOOK_S
        drains, new = self._spool.drain.exists(), self._unwanted.look()
        if drains == self._drains and new is None:
            return
        gone, off = new or ((), ())
        news, self._drains = News(gone, drains, off), drains
        for one in self._crew:
            self._send(one.route, messages.news(news, one.ticket))

    # -- the address ---------------------------------------------------------------------

    def _say(self, now_s: float) -> None:
        """Say where this station is heard, unless a newer one lives."""
        self._next_say_s = now_s + SAY_S
        try:
            other = self._read_address()
            is_first = other is None or other.server_key == self._server_key or not self._said
            is_stale = other is not None and now_us() - other.at_us > 1e6 * STALE_S
            self.is_rival = not (is_first or is_stale)
            if self.is_rival:
                return
            self._said = True
            site = SiteName(self._home.site)
            many = len(names(self._spool.folder("claimed")))
            spread_ms = round(1000 * many / GREETINGS_PER_S)
            said = (self.endpoint, self._server_key, now_us(), messages.VERSIONS, spread_ms)
            raw = addresses.encode(Address(site, *said), self._home.signer, self._home.certificate)
            publish.write_file(self._home.tmp, self._spool.radio, raw)
        except OSError as error:  # a disk that is full or away: pilots go on by the spool
            _LOG.warning("radio's address not written", extra={"reason": str(error)})

    def _own_address(self) -> bool:
        found = self._read_address()
        return found is not None and found.server_key == self._server_key

    def _read_address(self) -> Address | None:
        with contextlib.suppress(OSError, PulkError):
            with self._spool.radio.open("rb") as file:
                raw = file.read(addresses.ADDRESS_LIMITS.bytes_max + 1)
            return addresses.decode(raw, self._home.trust(), site=self._home.site)
        return None
