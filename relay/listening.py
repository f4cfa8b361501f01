"""Hearing of work as soon as there is some: a thread that asks central to answer when it has news.

It moves nothing and believes nothing: it only has the next tick come sooner. Without it, or where
central or something on the way answers at once, ticks come at their interval.
"""

from __future__ import annotations

import logging
import threading
import time

from bundle.errors import PulkError
from relay.bell import Bell
from relay.carrier.http import HttpCarrier

QUICK_S = 1.0  # who answers sooner with nothing new does not wait for news
_LOG = logging.getLogger(__name__)


class Listener:
    """See the module. The bell rings when a tick would find something."""

    def __init__(self, carrier: HttpCarrier, wait_s: float, rest_s: float, bell: Bell) -> None:
        """Ask over `carrier`, waiting up to `wait_s` each time; rest after trouble."""
        self._carrier, self._wait_s, self._rest_s = carrier, wait_s, rest_s
        self._stop = threading.Event()
        self._bell = bell

    def start(self) -> None:
        """Begin. The thread ends with the process: what it waits for is lost without loss."""
        threading.Thread(target=self._listen, name="listener", daemon=True).start()

    def stop(self) -> None:
        """Ask for nothing more."""
        self._stop.set()

    def _listen(self) -> None:
        seen = ""
        while not self._stop.is_set():
            began_s = time.monotonic()
            try:
                found = self._carrier.wait(seen, self._wait_s)
            except (PulkError, OSError) as error:
                _LOG.debug("cannot listen", extra={"reason": str(error)})
                seen = ""
                self._stop.wait(self._rest_s)
                continue
            if found != seen:
                self._bell.ring()  # the first answer too: something may have come meanwhile
            elif time.monotonic() - began_s < QUICK_S:
                self._stop.wait(self._rest_s)
            seen = found
