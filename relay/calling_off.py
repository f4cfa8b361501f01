"""What central called off: `called-off` in the spool, for pilots and for ticks to come.

Of leases, only those of work that is here stand there; others are ended before they come. Tasks of
leases that go on otherwise stand in `called-off-tasks`. A lost update costs until central's next
bundle, which says it again.
"""

from __future__ import annotations

import contextlib

from bundle.ids import LEASE_ID_BYTES, LeaseId
from bundle.spool import called_off as off_files
from bundle.spool import publish
from bundle.spool.called_off import Off
from bundle.spool.layout import Spool
from bundle.wire.manifest import Manifest
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


def hear(spool: Spool, manifest: Manifest) -> None:
    """Take what a work manifest calls off, once it was heard; what is over here is forgotten."""
    _hear_tasks(spool, manifest)
    called_off, known = manifest.called_off, read(spool)
    if not called_off and not known:
        return
    here = _here(spool)
    state.note_ended_leases(spool, set(called_off) - here)
    stands = (known | set(called_off)) & here
    if stands != known:
        lines = "".join(f"{lease.hex()}\n" for lease in sorted(stands))
        publish.write_file(spool.folder("tmp"), spool.called_off, lines.encode())


def _hear_tasks(spool: Spool, manifest: Manifest) -> None:
    """Take which tasks are called off of leases that go on.

    Of leases that are not here the newest manifest says all that may still come; an older one, on
    its way for longer, takes nothing back.
    """
    known, found = read_tasks(spool), Off()
    for lease, step, jobs in manifest.called_off_tasks:
        off_files.add(found, lease, step, jobs)
    if not known and not found:
        return
    here, newest = _here(spool), state.read_central(spool)
    at = (manifest.epoch or newest.epoch).counter, manifest.commit
    is_newest = at >= (newest.epoch.counter, newest.commit)
    for lease in known.keys() & here if is_newest else known.keys():
        for step, jobs in known[lease].items():
            off_files.add(found, lease, step, jobs)
    if found != known:
        publish.write_file(spool.folder("tmp"), spool.called_off_tasks, off_files.write(found))


def _here(spool: Spool) -> set[LeaseId]:
    return {plan.lease for work in works.live(spool) for plan in work.plans}
