"""Sending and fetching as part of a tick, with trouble remembered from one tick to the next.

Trouble on the way to central never stops the rest of a tick. It is told once when it begins and
when it is over; between the two it stands in `pulk relay status`.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

from bundle.errors import PulkError
from bundle.ids import BundleId
from bundle.media.errors import MediumFailed
from relay import accept, custody, room, state
from relay.carrier.contract import Carrier
from relay.core import backoff
from relay.core.backoff import Pace, Trouble
from relay.core.custody import Deed
from relay.errors import CarryFailed, LoginNeeded, NotYet
from relay.home import Home, now_us

_LOG = logging.getLogger(__name__)
CHANCE_BYTES = 6
_FILE = "trouble"


@dataclass(frozen=True, slots=True)
class Carried:
    """What was done, how many files came, and any trouble in words."""

    done: dict[Deed, int]
    fetched: int = 0
    trouble: str = ""


def carry(home: Home, carrier: Carrier | None, *, at_once: bool = False) -> Carried:
    """Send and fetch, unless trouble of late says to wait; `at_once`: whatever it says."""
    old = read(home)
    wait_s = 0.0 if at_once else backoff.waits_s(old, now_us())
    if carrier is None or (old is not None and wait_s):
        done = custody.tend(home, None)
        if carrier is None or old is None:
            return Carried(done)
        waiting = NotYet(wait_s=round(wait_s) or 1, failures=old.failures, last=old.text)
        return Carried(done, trouble=waiting.text())
    done, fetched = dict.fromkeys(Deed, 0), 0
    try:
        done = custody.tend(home, carrier)
        fetched = len(fetch(home, carrier))
    except (CarryFailed, MediumFailed) as error:
        _remember(home, old, error)
        return Carried(done, fetched, error.text())
    if old is not None:
        (state.folder(home.spool) / _FILE).unlink(missing_ok=True)
        _LOG.warning("central reached again", extra={"failures": old.failures})
    return Carried(done, fetched)


def fetch(home: Home, carrier: Carrier) -> list[str]:
    """Bring what the carrier has into `in/`; return the file names.

    What is known, or would leave too little free, is not fetched; the next report says so.
    """

    tally = room.Tally(home)

    def is_known(bundle: BundleId, size_bytes: int = 0) -> bool:
        return accept.is_known(home, bundle) or not accept.has_room(home, bundle, size_bytes, tally)

    return [path.name for path in carrier.fetch(is_known, home.spool.folder("in"))]


def read(home: Home) -> Trouble | None:
    """Return the trouble that there is; None where the last try went well."""
    value = state.read_map(state.folder(home.spool) / _FILE)
    if value is None:
        return None
    numbers = (value.count(name) for name in ("failures", "since_us", "at_us", "until_us"))
    return Trouble(value.text("code"), value.text("text"), *numbers)


def _remember(home: Home, old: Trouble | None, error: PulkError) -> None:
    carry = home.config.carry
    is_free = isinstance(error, LoginNeeded) and home.config.ssh.login == "person"
    new = backoff.after_failure(
        old,
        now_us(),
        int.from_bytes(os.urandom(CHANCE_BYTES)) / 256**CHANCE_BYTES,
        Pace(carry.retry_s, carry.retry_s_max),
        error.code,
        error.text(),
        asked_s=float(error.fields.get("retry_after_s") or 0),
        at_once=is_free or isinstance(error, MediumFailed),
    )
    path = state.folder(home.spool) / _FILE
    state.write_map(home.spool, path, _to_wire(new))
    if old is None or old.code != new.code:  # once, not with every tick
        _LOG.warning("central not reached", extra={"reason": error.text()})


def _to_wire(one: Trouble) -> dict[str, Any]:
    return {
        "code": one.code,
        "text": one.text,
        "failures": one.failures,
        "since_us": one.since_us,
        "at_us": one.at_us,
        "until_us": one.until_us,
    }
