"""Where a leased task is: at which site, since when, and how far its bundle has come."""

from __future__ import annotations

from bundle import canonical
from bundle.errors import PulkError
from bundle.ids import StreamId, Task
from bundle.intervals import IntervalSet
from bundle.limits import STATE_LIMITS
from bundle.records import segment as segments
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from central import heard, provenance, silence
from central.archive import SUFFIX
from central.core.facts import TaskRow
from central.core.obstacles import Code, Obstacle
from central.store.rows import BundleRow, DatasetRow, LeaseRow
from central.workings import Workings

PARKED_LOOKED_MAX = 8


def leased(
    workings: Workings, row: DatasetRow, state: TaskRow, now_us: int
) -> tuple[Obstacle, ...]:
    """Return what is in the way of a leased task's result, the reason first."""
    lease = _lease_of(workings, row, state)
    if lease is None:
        return (Obstacle(Code.LEASED, "it is leased", remedy="wait for its result"),)
    found = [_lease_words(workings, row, lease)]
    heard_s = silence.heard_s(workings.store.people, lease.site, now_us)
    if silence.is_silent(heard_s):
        days = (heard_s or 0) // 86_400
        text = f"{lease.site} holds it, and nothing was heard of it for {days} days"
        until = lease.deadline_us
        remedy = "ask its operator; after the lease's end central leases it again"
        found.insert(
            0, Obstacle(Code.SITE_SILENT, text, remedy=remedy, site=lease.site, until_us=until)
        )
    if not has_arrived(workings, lease):
        text = f"its work bundle {lease.work[:12]} has not been fetched by {lease.site}"
        remedy = "run `pulk relay tick` there, or carry it: `pulk central exchange DIR IN OUT`"
        found.insert(0, Obstacle(Code.NOT_FETCHED, text, remedy=remedy, site=lease.site))
    return tuple(found)


def parked(workings: Workings, task: Task) -> tuple[Obstacle, ...]:
    """Return the parked result bundles in which a task's attempts lie, and why they are parked."""
    rows = [one for one in workings.store.bundles.parked() if one.kind == Kind.RESULT.value]
    return tuple(
        _parked_words(one) for one in rows[-PARKED_LOOKED_MAX:] if _holds(workings, one, task)
    )


def _holds(workings: Workings, row: BundleRow, task: Task) -> bool:
    """Return whether a parked bundle tells of a task; no where its file can't be read."""
    path = workings.home.parked / f"{row.id}{SUFFIX}"
    kinds = frozenset({Kind.RESULT})
    try:
        with open_bundle(path, workings.trust, audience=None, kinds=kinds) as bundle:
            for place in bundle.find("segment"):
                segment = segments.decode(bundle.chunk(place))
                if segment.header.dataset == task.dataset and any(
                    (one.step, one.job) == (task.step, task.job) for one in segment.attempts
                ):
                    return True
    except (PulkError, OSError):
        return False
    return False


def _parked_words(one: BundleRow) -> Obstacle:
    text = f"result bundle {one.id[:12]} of {one.producer} holds it and is parked: {one.text}"
    remedy = f"bring what it rests on ({one.missing or one.code}); it is then merged by itself"
    return Obstacle(Code.RESULT_PARKED, text, one.missing, one.code, remedy, one.producer)


def _lease_words(workings: Workings, row: DatasetRow, lease: LeaseRow) -> Obstacle:
    work = workings.store.datasets.work(lease.work)
    since = provenance.iso(work.created_us) if work else None
    until = provenance.iso(lease.deadline_us)
    text = f"it is leased to {lease.site} since {since}, until {until or 'no end'}"
    text += f"; {said}" if (said := heard.at(workings, row, lease.site)) else ""
    return Obstacle(
        Code.LEASED,
        text,
        remedy="wait for its result",
        site=lease.site,
        until_us=lease.deadline_us,
    )


def _lease_of(workings: Workings, row: DatasetRow, state: TaskRow) -> LeaseRow | None:
    """Return the live lease that covers a task: the one that its row names, or the newest."""
    step, job = state.place
    live = reversed(workings.store.datasets.live_on(row.no))
    for lease in sorted(live, key=lambda one: one.no != state.lease):
        if workings.lease(lease).generation_of(job, step) is not None:
            return lease
    return None


def has_arrived(workings: Workings, lease: LeaseRow) -> bool:
    """Return whether a site said that a lease's work bundle came there."""
    work = workings.store.bundles.bundle(lease.work)
    raw = workings.store.bundles.site(lease.site).received
    rows = canonical.decode(raw, STATE_LIMITS, where="received") if raw else []
    received = {StreamId(stream): IntervalSet.from_wire(runs) for stream, runs in rows}
    if work is None:
        return True
    return work.sequence in received.get(work.stream, IntervalSet())
