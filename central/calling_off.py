"""Calling off: a site is told what of its leases nobody wants any more.

That is what was cancelled, or dropped with the jobs that a dataset has no more, and what would not
count: tasks of a generation before a reset, or of a step that an edit has compute something else. A
lease all of whose tasks are so is called off as a whole, of others the tasks: once and for good, in
the order of no commits, so it cannot matter when a site hears it. What is asked for again after
that is leased anew: at once, or, where single tasks were called off and count once more, when the
rest of their lease has ended. It is said in every bundle until the site no longer holds the work,
or the lease's time is over. Results that come all the same are merged as ever.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bundle import canonical
from bundle.ids import JOB_MAX, BundleId, LeaseId, SiteName, StreamId
from bundle.intervals import IntervalSet
from bundle.limits import STATE_LIMITS
from bundle.records.lease import Block, Lease
from central.core import state_byte
from central.core.controls import Controls
from central.core.dag import Dag
from central.core.facts import Control, ControlWord
from central.hearing import newest_of
from central.joining import LIVE
from central.store.rows import LeaseRow
from central.workings import Workings

CALLED_OFF = "called-off"  # a lease's state
SAID_MAX = 50_000  # in one bundle; what is beyond that waits for the next
SPANS_MAX = 50_000  # of tasks, likewise

Parts = dict[int, dict[int, IntervalSet]]  # jobs by step, by the number of a lease

_NUMBER = struct.Struct(">Q")
_DROPPING = frozenset({ControlWord.CANCEL, ControlWord.EDIT, ControlWord.RESET})
_UNWANTED = state_byte.CANCELLED_FLAG | state_byte.REMOVED_FLAG


@dataclass(frozen=True, slots=True)
class Due:
    """What a site is to be told: whole leases, and tasks of others."""

    leases: list[LeaseRow]
    parts: Parts

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.leases or self.parts)


NOTHING_DUE = Due([], {})


class CallingOff:
    """Finds what to call off at sites, and remembers where there was nothing."""

    def __init__(self, workings: Workings) -> None:
        """Look at nothing yet."""
        self._w = workings
        self._calm: dict[tuple[SiteName, int], int] = {}  # number of controls by then

    def due(
        self, site: SiteName, leased: Mapping[int, Sequence[Control]], *, is_settled: bool = True
    ) -> Due:
        """Return what of a site's live leases nobody wants and it was not told; changes nothing.

        `leased`: the controls of the datasets that are leased to the site, by number.
        `is_settled`: which controls there were is known; while central was restored, only what was
        said since is taken at its word, for what came after the backup may have undone the rest.
        """
        w, found, parts = self._w, list[LeaseRow](), Parts()
        told = _read_parts(w, site)
        for no, every in leased.items():
            said = every if is_settled else [one for one in every if one.epoch == w.epoch]
            place, many = (site, no), len(said)
            asks = any(one.word in _DROPPING for one in said)
            if not asks or self._calm.get(place) == many:
                continue
            dataset = w.store.datasets.dataset_by_no(no)
            dag = w.dag(dataset.digest)
            controls = w.controls(dataset) if is_settled else Controls(said, dag.tasks)
            rows = [row for row in w.store.datasets.live_on(no) if row.site == site]
            older = self._before({row.work for row in rows}, newest_of(said))
            off = [
                (row, *unwanted(controls, dag if row.work in older else None, w.lease(row)))
                for row in rows
            ]
            whole = [row for row, _, is_whole in off if is_whole]
            some = {
                row.no: its
                for row, its, is_whole in off
                if its and not is_whole and _adds(its, told.get(row.no, {}))
            }
            if not (whole or some) and is_settled:  # a lease that is made later has no such task
                self._calm[place] = many
            found += whole
            parts |= some
        room = SAID_MAX - len(self.said(site)) if found else 0
        return Due(found[: max(0, room)], _within(told, parts))

    def _before(self, works: Iterable[BundleId], edit: Control | None) -> frozenset[BundleId]:
        """Return the works that were made before an edit put the document in force.

        A restored central may lack an edit by which it leased: its document replaced none of these.
        """
        if edit is None:
            return frozenset()
        known = [one for work in works if (one := self._w.store.bundles.bundle(work)) is not None]
        place = edit.epoch, edit.commit
        return frozenset(
            one.id for one in known if one.epoch is not None and (one.epoch, one.commit) < place
        )

    def said_of(self, site: SiteName, new: Due) -> Parts:
        """Return the tasks that a site is told of: what it was told before, and what is new.

        Of leases that live; one that is called off as a whole needs no more words.
        """
        told, w = _read_parts(self._w, site), self._w
        for number, steps in new.parts.items():
            its = told.setdefault(number, {})
            for step, jobs in steps.items():
                its[step] = its.get(step, IntervalSet()) | jobs
        now_us, over = w.clock_us(), {row.no for row in new.leases}
        rows = {row.no: row for row in w.store.datasets.leases_by_no(sorted(told))} if told else {}
        return {
            number: steps
            for number, steps in told.items()
            if number not in over
            and number in rows
            and rows[number].state == LIVE
            and rows[number].deadline_us > now_us
        }

    def said(self, site: SiteName) -> list[LeaseRow]:
        """Return the leases that were called off and may still be at work at the site."""
        numbers = _read(self._w, site)
        if not numbers:
            return []
        now_us = self._w.clock_us()
        rows = self._w.store.datasets.leases_by_no(numbers)
        return [row for row in rows if row.state == CALLED_OFF and row.deadline_us > now_us]


def unwanted(
    controls: Controls, dag: Dag | None, lease: Lease
) -> tuple[dict[int, IntervalSet], bool]:
    """Return which jobs of a lease nobody wants, by step, and whether all of it is so.

    `dag`: of the document in force, where that was put in force since; None: the lease's document
    is not older. Tasks of a deleted dataset are told as such, and count as wanted here.
    """
    if controls.whole.removed:
        return {}, False
    found: dict[int, IntervalSet] = {}
    whole, hashes = True, dict(lease.spec_hashes)
    for block in lease.blocks:
        for step in block.steps:
            if dag is not None and not _is_as_leased(dag, step, hashes[step]):
                off = block.jobs
            else:
                off = _off(controls, step, block, is_bounded=dag is not None)
            whole = whole and off == block.jobs
            if off.spans:
                found[step] = found.get(step, IntervalSet()) | off
    return found, whole


def _is_as_leased(dag: Dag, step: int, leased: bytes) -> bool:
    return step < len(dag.whole) and dag.spec_hash(step) == leased


def _off(controls: Controls, step: int, block: Block, *, is_bounded: bool) -> IntervalSet:
    """Return which tasks of a step nobody wants; a dataset is fed often, so that costs nothing.

    `is_bounded`: tasks are dropped that the dataset has no more.
    """
    if not (controls.cancels or controls.resets):
        return block.jobs.within(controls.past(step), JOB_MAX + 1) if is_bounded else IntervalSet()
    every = state_byte.jobs_of(block.jobs.spans)
    standings = controls.standings(step, every)
    unwanted_flags = _UNWANTED if is_bounded else state_byte.CANCELLED_FLAG
    off = (standings.flags & unwanted_flags) != 0
    off |= standings.since > block.generation
    return IntervalSet(tuple(state_byte.spans_of(every[off])))


def _adds(its: Mapping[int, IntervalSet], told: Mapping[int, IntervalSet]) -> bool:
    """Return whether something is unwanted that was not told."""
    return any((jobs - told.get(step, IntervalSet())).spans for step, jobs in its.items())


def _within(told: Parts, new: Parts) -> Parts:
    """Return as many of the new tasks as a bundle has room for beside those told before."""
    left = SPANS_MAX - _spans(told)
    found: Parts = {}
    for number, steps in sorted(new.items()):
        if (spans := _spans({number: steps})) <= left:
            left -= spans
            found[number] = steps
    return found


def _spans(parts: Parts) -> int:
    return sum(len(jobs.spans) for steps in parts.values() for jobs in steps.values())


def rows_of(workings: Workings, parts: Parts) -> tuple[tuple[LeaseId, int, IntervalSet], ...]:
    """Return tasks as a manifest says them."""
    names = {row.no: row.id for row in workings.store.datasets.leases_by_no(sorted(parts))}
    rows = (
        (names[number], step, jobs)
        for number, steps in parts.items()
        for step, jobs in steps.items()
    )
    return tuple(sorted(rows, key=lambda row: row[:2]))


def note_parts(workings: Workings, site: SiteName, parts: Parts) -> None:
    """Remember which tasks a site is told of; in a transaction."""
    if parts != _read_parts(workings, site):
        rows = [
            [number, step, jobs.to_wire()]
            for number, steps in sorted(parts.items())
            for step, jobs in sorted(steps.items())
        ]
        workings.store.people.set_meta(_parts_name(site), canonical.encode(rows))


def _read_parts(workings: Workings, site: SiteName) -> Parts:
    raw = workings.store.people.meta(_parts_name(site))
    found: Parts = {}
    for number, step, runs in canonical.decode(raw, STATE_LIMITS, where="meta") if raw else ():
        found.setdefault(number, {})[step] = IntervalSet.from_wire(runs)
    return found


def _parts_name(site: SiteName) -> str:
    return f"called-off-tasks/{site}"


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
    numbers, parts, holds = _read(workings, site), _read_parts(workings, site), frozenset(held)
    if not (numbers or parts):
        return
    store, left = workings.store, []
    for row in store.datasets.leases_by_no(sorted({*numbers, *parts})):
        work = store.bundles.bundle(row.work)
        came = work is None or work.sequence in received.get(work.stream, IntervalSet())
        if row.work in holds or not came:
            left.append(row)
    note(workings, site, [row for row in left if row.no in set(numbers)])
    note_parts(workings, site, {row.no: parts[row.no] for row in left if row.no in parts})


def _read(workings: Workings, site: SiteName) -> list[int]:
    raw = workings.store.people.meta(_name(site)) or b""
    return [number for (number,) in _NUMBER.iter_unpack(raw)]


def _name(site: SiteName) -> str:
    return f"called-off/{site}"
