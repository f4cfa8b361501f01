"""What runs at this moment, asked of the radio: for `pulk relay status`, on any login node."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from bundle.errors import PulkError
from bundle.ids import PilotRun
from bundle.radio import address as addresses
from bundle.radio import curve, messages
from bundle.radio.address import Address
from bundle.radio.messages import Seen, State, Word
from relay.home import Home, now_us
from relay.radio.allow import reader_secret

ANSWER_S = 3.0  # so long the status waits for a radio that may be gone


@dataclass(frozen=True, slots=True)
class Live:
    """What the radio knows. `pilots` is None where it did not answer."""

    endpoint: str
    said_s: int  # since the address was last said
    pilots: tuple[tuple[Seen, State | None], ...] | None


def look(home: Home, answer_s: float = ANSWER_S) -> Live | None:
    """Ask the radio of this spool; None where there is none."""
    try:
        raw = home.spool.radio.read_bytes()
        found = addresses.decode(raw, home.trust(), site=home.site, where=str(home.spool.radio))
    except (OSError, PulkError):
        return None
    said_s = max(0, now_us() - found.at_us) // 1_000_000
    try:
        rows = _ask(home, found, time.monotonic() + answer_s)
    except ModuleNotFoundError:
        rows = None
    if rows is None:
        return Live(found.endpoint, said_s, None)
    return Live(found.endpoint, said_s, tuple((one, _state(one)) for one in rows))


def _ask(home: Home, found: Address, until_s: float) -> list[Seen] | None:
    import zmq

    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    secret = reader_secret(home.signer)
    rows: list[Seen] = []
    after = PilotRun(b"")
    try:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IPV6, int("[" in found.endpoint))
        socket.setsockopt(zmq.MAXMSGSIZE, messages.PAGE_BYTES_MAX)
        socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.public_of(secret))
        socket.setsockopt(zmq.CURVE_SERVERKEY, found.server_key)
        socket.connect(found.endpoint)
        while True:
            socket.send(messages.pack(Word.LOOK, value={"after": bytes(after)}))
            left_ms = max(0, round(1000 * (until_s - time.monotonic())))
            if not socket.poll(left_ms):
                return None
            word, _, body = messages.unpack(socket.recv(), messages.PAGE_BYTES_MAX)
            if word is not Word.PAGE:
                return None
            page, last = messages.read_page(body)
            rows += page
            if last or not page:
                return rows
            after = page[-1].pilot_run
    except (zmq.ZMQError, messages.MessageRefused):
        return None
    finally:
        socket.close(0)
        context.destroy(0)


def _state(one: Seen) -> State | None:
    """Return what a pilot said last; None where it said nothing that can be read."""
    with contextlib.suppress(messages.MessageRefused):
        return messages.read_state(one.state) if one.state else None
    return None
