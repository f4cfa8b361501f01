"""What central called off: `called-off` in the spool, for pilots and for ticks to come.

Of leases, only those of work that is here stand there; others are ended before they come. Tasks of
leases that go on otherwise stand in `called-off-tasks`. A lost update costs until central's next
bundle, which says it again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable

from bundle.ids import LEASE_ID_BYTES, LeaseId
from bundle.intervals import IntervalSet
from bundle.spool import called_off as off_files
from bundle.spool import publish
from bundle.spool.called_off import Off
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


def read_tasks(spool: Spool) -> Off:
    """Return the tasks that are called off of leases which go on otherwise."""
    try:
        return off_files.read(spool.called_off_tasks.read_bytes())
    except OSError:
        return {}


def hear(
    spool: Spool,
    called_off: Collection[LeaseId],
    tasks: Iterable[tuple[LeaseId, int, IntervalSet]] = (),
) -> None:
    """Take what a work manifest calls off; what is over and gone here is forgotten."""
    _hear_tasks(spool, tasks)
    known = read(spool)
    if not called_off and not known:
        return
    here = {plan.lease for work in works.live(spool) for plan in work.plans}
    state.note_ended_leases(spool, set(called_off) - here)
    stands = (known | set(called_off)) & here
    if stands != known:
        lines = "".join(f"{lease.hex()}\n" for lease in sorted(stands))
        publish.write_file(spool.folder("tmp"), spool.called_off, lines.encode())


def _hear_tasks(spool: Spool, said: Iterable[tuple[LeaseId, int, IntervalSet]]) -> None:
    """Take which tasks are called off; what may still come is remembered until the next word."""
    known, found = read_tasks(spool), Off()
    for lease, step, jobs in said:
        off_files.add(found, lease, step, jobs)
    if not known and not found:
        return
    here = {plan.lease for work in works.live(spool) for plan in work.plans}
    for lease in here & known.keys():
        for step, jobs in known[lease].items():
            off_files.add(found, lease, step, jobs)
    if found != known:
        publish.write_file(spool.folder("tmp"), spool.called_off_tasks, off_files.write(found))
