"""Calling off: a site is told which of its leases nobody wants any more, their tasks cancelled.

A lease is called off as a whole, once and for good, in the order of no commits: so it cannot matter
when a site hears it. What is asked for again after that is leased anew. It is said in every bundle
until the site no longer holds the work, or the lease's time is over. Results that come all the same
are merged as ever.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from bundle.ids import BundleId, SiteName, StreamId
from bundle.intervals import IntervalSet
from bundle.records.lease import Lease
from central.core import state_byte
from central.core.controls import Controls
from central.core.facts import ControlWord
from central.store.rows import LeaseRow
from central.workings import Workings

CALLED_OFF = "called-off"  # a lease's state
SAID_MAX = 50_000  # in one bundle; what is beyond that waits for the next

_NUMBER = struct.Struct(">Q")


class CallingOff:
    """Finds what to call off at sites, and remembers where there was nothing."""

    def __init__(self, workings: Workings) -> None:
        """Look at nothing yet."""
        self._w = workings
        self._calm: dict[tuple[SiteName, int], int] = {}  # number of controls by then

    def due(self, site: SiteName) -> list[LeaseRow]:
        """Return the live leases of a site of which every task is cancelled; changes nothing."""
        w, found = self._w, []
        held = [no for no, _ in w.store.datasets.leased_at(site)]
        for no, said in w.store.datasets.controls_of(held).items():
            place, many = (site, no), len(said)
            asks = any(one.word is ControlWord.CANCEL for one in said)
            if not asks or self._calm.get(place) == many:
                continue
            controls = w.controls(w.store.datasets.dataset_by_no(no))
            rows = [row for row in w.store.datasets.live_on(no) if row.site == site]
            off = [row for row in rows if is_off(controls, w.lease(row))]
            if not off:  # a lease that is made later has no such task
                self._calm[place] = many
            found += off
        room = SAID_MAX - len(self.said(site)) if found else 0
        return found[: max(0, room)]

    def said(self, site: SiteName) -> list[LeaseRow]:
        """Return the leases that were called off and may still be at work at the site."""
        numbers = _read(self._w, site)
        if not numbers:
            return []
        now_us = self._w.clock_us()
        rows = self._w.store.datasets.leases_by_no(numbers)
        return [row for row in rows if row.state == CALLED_OFF and row.deadline_us > now_us]


def is_off(controls: Controls, lease: Lease) -> bool:
    """Return whether every task of a lease is cancelled."""
    if not controls.is_partial:
        return controls.whole.cancelled
    return all(
        (controls.standings(step, jobs).flags & state_byte.CANCELLED_FLAG).all()
        for block in lease.blocks
        for jobs in (state_byte.jobs_of(block.jobs.spans),)
        for step in block.steps
    )


def note(workings: Workings, site: SiteName, rows: Iterable[LeaseRow]) -> None:
    """Remember what a site is told; in a transaction."""
    numbers = sorted(row.no for row in rows)
    if numbers != _read(workings, site):
        raw = b"".join(map(_NUMBER.pack, numbers))
        workings.store.people.set_meta(_name(site), raw)


def heard(
    workings: Workings,
    site: SiteName,
    held: Iterable[BundleId],
    received: Mapping[StreamId, IntervalSet],
) -> None:
    """Forget what was called off of works that came to a site and are not held there any more."""
    numbers, holds = _read(workings, site), frozenset(held)
    if not numbers:
        return
    store, left = workings.store, []
    for row in store.datasets.leases_by_no(numbers):
        work = store.bundles.bundle(row.work)
        came = work is None or work.sequence in received.get(work.stream, IntervalSet())
        if row.work in holds or not came:
            left.append(row)
    note(workings, site, left)


def _read(workings: Workings, site: SiteName) -> list[int]:
    raw = workings.store.people.meta(_name(site)) or b""
    return [number for (number,) in _NUMBER.iter_unpack(raw)]


def _name(site: SiteName) -> str:
    return f"called-off/{site}"
