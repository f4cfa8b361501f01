"""The daemon: the same tick in a loop, ended by SIGTERM between two ticks or when idle."""

from __future__ import annotations

import logging
import signal
import threading
import time
from types import FrameType

from bundle.errors import PulkError
from relay.bell import Bell
from relay.carrier import opening
from relay.carrier.address import Scheme, parse
from relay.home import Home
from relay.listening import Listener
from relay.radio.beside import GAP_S, Radio
from relay.tick import Ticked, tick

_LOG = logging.getLogger(__name__)
IDLE_TICKS = 2  # in a row, before `--until-idle` believes it


def run(home: Home, interval_s: float, *, until_idle: bool) -> int:
    """Tick until SIGTERM or SIGINT, or until nothing is left; return how many ticks.

    What is transient (another tick, a full disk, no network) is tried again at the next tick, which
    comes sooner where central has news, or pilots have sealed something.
    """
    stop, bell = threading.Event(), Bell()
    listener = None if until_idle else _listener(home, interval_s, bell)

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()
        bell.ring()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    if listener:
        listener.start()
    ticks = idle = 0
    radio = Radio(home, bell)
    try:
        radio.begin()
        while not stop.is_set():
            ticks += 1
            bell.hush()
            began_s = time.monotonic()
            done = _tick(home)
            took_s = time.monotonic() - began_s
            idle = idle + 1 if done is not None and done.idle else 0
            if until_idle and idle >= IDLE_TICKS:
                break
            radio.wait(stop, interval_s, took_s, done.offered if done is not None else 0)
    finally:
        radio.close()
        if listener:
            listener.stop()
    return ticks


def _listener(home: Home, interval_s: float, bell: Bell) -> Listener | None:
    """Return what hears of news; None where nobody is to be asked, or ticks come as soon anyway."""
    central = home.config.central
    if not central.url or parse(central.url).scheme is not Scheme.HTTP:
        return None
    if not central.wait_s or interval_s <= 2 * GAP_S:
        return None
    return Listener(opening.http(home), central.wait_s, interval_s, bell)


def _tick(home: Home) -> Ticked | None:
    try:
        done = tick(home)
    except PulkError as error:
        if not error.transient:
            raise
        _LOG.warning("tick put off", extra={"reason": error.text()})
        return None
    except OSError as error:  # a disk that is full or away: files keep everything until then
        _LOG.error("tick failed", extra={"reason": str(error)})
        return None
    _LOG.debug("tick", extra=done.document())
    return done
