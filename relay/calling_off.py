"""Leases that central called off: `called-off` in the spool, for pilots and for ticks to come.

Only those of work that is here stand there; others are ended before they come. A lost update costs
until central's next bundle, which says it again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from bundle.ids import LEASE_ID_BYTES, LeaseId
from bundle.spool import publish
from bundle.spool.layout import Spool
from relay import state, works


def read(spool: Spool) -> frozenset[LeaseId]:
    """Return the leases that are called off here."""
    try:
        return parse(spool.called_off.read_bytes())
    except OSError:
        return frozenset()


def parse(raw: bytes) -> frozenset[LeaseId]:
    """Return the leases in the bytes of the file; lines that name none are passed over."""
    found = set()
    for line in raw.decode(errors="replace").split():
        with contextlib.suppress(ValueError):
            lease = bytes.fromhex(line)
            if len(lease) == LEASE_ID_BYTES:
                found.add(LeaseId(lease))
    return frozenset(found)


def hear(spool: Spool, called_off: Collection[LeaseId]) -> None:
    """Take what a work manifest calls off; what is over and gone here is forgotten."""
    known = read(spool)
    if not called_off and not known:
        return
    here = {plan.lease for work in works.live(spool) for plan in work.plans}
    state.note_ended_leases(spool, set(called_off) - here)
    stands = (known | set(called_off)) & here
    if stands != known:
        lines = "".join(f"{lease.hex()}\n" for lease in sorted(stands))
        publish.write_file(spool.folder("tmp"), spool.called_off, lines.encode())
