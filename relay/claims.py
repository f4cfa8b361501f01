"""Claims: who works here. A pilot takes its own away when it ends."""

from __future__ import annotations

import contextlib

from bundle.errors import PulkError
from bundle.ids import PilotRun
from bundle.limits import SMALL_LIMITS
from bundle.records import seal as seals
from bundle.records.seal import Claim
from bundle.spool.bounded import read_bounded
from bundle.spool.layout import Spool
from relay.listing import names


def read(spool: Spool, pilot_run: PilotRun) -> Claim | None:
    """Return a pilot's claim, or None where there is none readable."""
    path = spool.claim(pilot_run)
    with contextlib.suppress(OSError, PulkError):
        claim = seals.decode_claim(read_bounded(path, SMALL_LIMITS), where=str(path))
        if claim.pilot_run == pilot_run:
            return claim
    return None


def pilot_runs(spool: Spool) -> list[PilotRun]:
    """Return the pilots that have a folder in `claimed/`, sorted."""
    found = []
    for name in names(spool.folder("claimed")):
        with contextlib.suppress(ValueError):
            run = PilotRun(bytes.fromhex(name))
            if len(run) == 8:
                found.append(run)
    return found
