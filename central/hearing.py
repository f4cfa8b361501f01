"""Which sites have heard of a dataset's newest document: what to tell them, what they know.

An edit is news for a site that holds live leases of another document of the dataset. It is said in
every bundle until the site has received one that said it. A bundle that leases from an edited
document says where that one stands, too. Kept by site, beside the facts: lost, it is said once
more, which changes nothing there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bundle import canonical, shape
from bundle.dataset.settings import settings
from bundle.ids import BundleId, Epoch, SiteName, StreamId
from bundle.intervals import IntervalSet
from bundle.limits import MIB, STATE_LIMITS
from bundle.records.edit import Edit
from bundle.records.report import Report
from central.core.dag import Dag
from central.core.facts import Control, ControlWord
from central.cosignatures import Demand
from central.store.rows import DatasetRow
from central.workings import Workings

SAID_MAX = 256  # documents in one bundle; what is beyond that waits until these were heard
SAID_BYTES_MAX = 64 * MIB  # of them together, if they are more than one
REFUSED = "edit-not-cosigned"  # as a site's report says it


@dataclass(frozen=True, slots=True)
class Said:
    """What a site was told of a dataset, by the store's number, and by which bundle first.

    `heard_us`: when central knew that it came there; 0: not yet. `is_refused`: the site passed it
    over.
    """

    dataset: int
    edit: Edit
    stream: StreamId
    sequence: int
    heard_us: int = 0
    is_refused: bool = False

    def tells(self, newest: Control) -> bool:
        """Return whether it is this edit that the site was told of."""
        return (self.edit.epoch, self.edit.commit) == (newest.epoch, newest.commit)


class Hearing:
    """Finds what is news at sites, and remembers where there was nothing."""

    def __init__(self, workings: Workings) -> None:
        """Look at nothing yet."""
        self._w = workings
        self._calm: dict[tuple[SiteName, int], tuple[Epoch, int]] = {}  # by then newest edit

    def due(
        self, site: SiteName, leased: Mapping[int, Sequence[Control]], *, is_settled: bool = True
    ) -> list[int]:
        """Return the datasets of which a site is to be told, by number; changes nothing.

        `leased`: the controls of the datasets that are leased to the site, by number.
        `is_settled`: what the site holds is known; not so while central was restored.
        """
        w = self._w
        known = {one.dataset: one for one in read(w, site)}
        found = []
        for no, controls in leased.items():
            newest = newest_of(controls)
            if newest is None or self._calm.get((site, no)) == (newest.epoch, newest.commit):
                continue
            row = w.store.datasets.dataset_by_no(no)
            if row.digest != newest.document:
                continue
            documents = leased_of(w, row).get(site, set())
            if is_news(w, row, newest, documents, known.get(no)):
                found.append(no)
            elif is_settled:  # a lease that is made later is of this document
                self._calm[site, no] = (newest.epoch, newest.commit)
        waiting = [one.edit.document for one in known.values() if not one.heard_us]
        return _fitting(w, waiting, found)

    def unheard(self, site: SiteName) -> list[int]:
        """Return the datasets of which a site was told, and is not known to have heard."""
        if not (said := read(self._w, site)):
            return []
        held = {no for no, _ in self._w.store.datasets.leased_at(site)}
        return [one.dataset for one in said if not one.heard_us and one.dataset in held]


def _fitting(workings: Workings, waiting: Sequence[bytes], found: Iterable[int]) -> list[int]:
    """Return as many of the datasets as fit into a bundle beside documents that were not heard."""
    datasets, chosen = workings.store.datasets, list[int]()
    size = sum(len(datasets.document(one) or b"") for one in waiting)
    for no in found:
        size += len(datasets.document(datasets.dataset_by_no(no).digest) or b"")
        many = len(waiting) + len(chosen)
        if many and (many >= SAID_MAX or size > SAID_BYTES_MAX):
            break
        chosen.append(no)
    return chosen


def is_news(
    workings: Workings,
    row: DatasetRow,
    newest: Control,
    leased: Iterable[bytes],
    known: Said | None,
) -> bool:
    """Return whether something runs otherwise by the newest document than at a site as it is.

    `leased`: the documents that the site's leases are of. `known`: what it was told last.
    """
    if known is not None and known.tells(newest):
        return False
    now = workings.dag(row.digest)
    told = None
    if known is not None and not known.is_refused:
        told = workings.dag(known.edit.document)
    return any(_runs_otherwise(workings.dag(one), told, now) for one in leased)


def leased_of(workings: Workings, row: DatasetRow) -> dict[SiteName, set[bytes]]:
    """Return the documents that live leases of a dataset are of, by site."""
    found: dict[SiteName, set[bytes]] = {}
    looked: set[BundleId] = set()
    for lease in workings.store.datasets.live_on(row.no):
        if lease.work not in looked:  # a bundle leases from one document of a dataset
            looked.add(lease.work)
            found.setdefault(lease.site, set()).add(workings.lease(lease).dataset_digest)
    return found


def newest_of(controls: Iterable[Control]) -> Control | None:
    """Return the newest edit among the controls of a dataset; None where it was never edited."""
    made = [one for one in controls if one.word is ControlWord.EDIT]
    return max(made, key=lambda one: (one.epoch, one.commit), default=None)


def edits_of(workings: Workings, numbers: Collection[int]) -> dict[int, Edit]:
    """Return the newest edit of each of those datasets that were edited, by number."""
    found = {}
    for no, controls in workings.store.datasets.controls_of(numbers).items():
        newest, row = newest_of(controls), workings.store.datasets.dataset_by_no(no)
        if newest is not None and newest.document == row.digest:
            found[no] = Edit(row.id, newest.document, newest.epoch, newest.commit)
    return found


def note(
    workings: Workings, site: SiteName, told: Mapping[int, Edit], by: tuple[StreamId, int]
) -> None:
    """Remember what a bundle tells a site, by its stream and number; in a transaction.

    What is said again of what it holds no more is forgotten.
    """
    before = {one.dataset: one for one in read(workings, site)}
    if not told and not before:
        return
    held = {no for no, _ in workings.store.datasets.leased_at(site)}
    now = {no: one for no, one in before.items() if no in held}
    for no, edit in told.items():
        old = before.get(no)
        is_known = old is not None and old.edit == edit and (old.heard_us or old.stream == by[0])
        now[no] = old if is_known and old is not None else Said(no, edit, *by)
    _write(workings, site, now.values(), before)


def heard(
    workings: Workings,
    site: SiteName,
    received: Mapping[StreamId, IntervalSet],
    report: Report | None = None,
) -> None:
    """Take note of what came to a site, and what its report says that it passed over."""
    said = read(workings, site)
    waiting = [one for one in said if not one.heard_us]
    if not said or (not waiting and report is None):
        return
    refused, demand = _refused(workings, report), Demand.of_report(report)
    now_us, found = workings.clock_us(), {}
    for one in said:
        numbers = received.get(one.stream, IntervalSet())
        came = bool(numbers.spans) and numbers.spans[-1][1] > one.sequence
        no_word = any(of == one.stream and at >= one.sequence for of, at in refused)
        found[one.dataset] = replace(
            one,
            heard_us=one.heard_us or (now_us if came else 0),
            is_refused=one.is_refused
            or (no_word and not demand.is_met(workings, one.edit.document)),
        )
    _write(workings, site, found.values(), {one.dataset: one for one in said})


def read(workings: Workings, site: SiteName) -> list[Said]:
    """Return what a site was told, of datasets that it held leases of then."""
    raw = workings.store.people.meta(_name(site))
    if not raw:
        return []
    rows = shape.Reader(canonical.decode(raw, STATE_LIMITS, where="edits"), "edits")
    return [_said(shape.Reader(row, "edits")) for row in rows.value]


def _said(row: shape.Reader) -> Said:
    no, dataset, document, counter, nonce, commit, stream, sequence, heard_us, refused = row.value
    edit = Edit(dataset, document, Epoch(counter, nonce), commit)
    return Said(no, edit, StreamId(stream), sequence, heard_us, refused)


def _write(
    workings: Workings, site: SiteName, rows: Iterable[Said], before: Mapping[int, Said]
) -> None:
    now = {one.dataset: one for one in rows}
    if now == before:
        return
    wire = []
    for no, one in sorted(now.items()):
        edit = one.edit
        row = [no, edit.dataset, edit.document, *edit.epoch, edit.commit]
        wire.append([*row, one.stream, one.sequence, one.heard_us, one.is_refused])
    workings.store.people.set_meta(_name(site), canonical.encode(wire))


def _name(site: SiteName) -> str:
    return f"edits/{site}"


def _runs_otherwise(leased: Dag, told: Dag | None, now: Dag) -> bool:
    """Return whether a step of a lease runs otherwise by a document than by what was told."""
    of = (leased, told or leased, now)
    for step in range(min(len(one.dataset.steps) for one in of)):
        wanted = [settings(one.dataset.steps[step]) for one in of]
        if wanted.count(wanted[0]) < len(wanted) and (
            _by(leased, told, step) != _by(leased, now, step)
        ):
            return True
    return False


def _by(leased: Dag, told: Dag | None, step: int) -> dict[str, Any]:
    """Return the settings by which a leased step runs at a site that was told of a document."""
    if told is not None and told.spec_hash(step) == leased.spec_hash(step):
        return settings(told.dataset.steps[step])
    return settings(leased.dataset.steps[step])


def _refused(workings: Workings, report: Report | None) -> list[tuple[StreamId, int]]:
    """Return stream and number of the bundles whose edits a site passed over."""
    told = report.refused if report else ()
    rows = [workings.store.bundles.bundle(BundleId(name)) for name, code in told if code == REFUSED]
    return [(one.stream, one.sequence) for one in rows if one is not None]
