"""Joining what each kind of verified bundle brings; every function runs inside a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bundle.errors import PulkError
from bundle.ids import DatasetId, LeaseId, SiteName
from bundle.records.head import OUTVOTED
from bundle.records.report import Report
from bundle.wire.manifest import Manifest
from bundle.wire.read import OpenBundle
from central import access, archived_people, calling_off, epochs, hearing
from central.core import commit as commits
from central.core import newest
from central.core.commit import Commit
from central.core.facts import Control, ControlWord
from central.errors import MalformedContent, MissingDataset
from central.found import Found, FoundSegment
from central.joining import COMPLETE, GONE, Joining, Merged
from central.noting import note_received
from central.state import contest
from central.state.recall import Recalled
from central.state.spans import spans
from central.store.rows import LeaseRow, SegmentRow
from central.workings import Workings


def join_result(
    workings: Workings, bundle: OpenBundle, found: Found, merged: Merged, *, live: bool
) -> None:
    """Join a result bundle: what it explains itself with, then its attempts, outcomes, files."""
    joining = Joining(workings, live=live)
    store = workings.store
    _join_leases(joining, found)
    join_segments(workings, joining, found.segments, merged)
    store.tasks.add_files(file._replace(bundle=merged.no) for file in found.files)
    merged.pins = joining.settle(merged.no)
    note_received(workings, bundle.manifest)


def join_segments(
    workings: Workings, joining: Joining, segments: Sequence[FoundSegment], merged: Merged
) -> None:
    """Add new segments to the store, then join their attempts, dataset by dataset."""
    store = workings.store
    complete: list[int] = []
    fresh: list[tuple[SegmentRow, FoundSegment, LeaseRow]] = []
    named = {new.entry.lease for new in segments}
    leases = {LeaseId(row.id): row for row in store.datasets.leases(named)}
    for new in segments:
        lease = leases[new.entry.lease]  # intake found it or learned it
        fresh.append((_segment_row(new, lease, merged.no), new, lease))
        if new.columns.complete:
            complete.append(lease.no)
    known = store.segments.of_leases({row.lease for row, _, _ in fresh})
    columns = [(row, new.columns) for row, new, _ in fresh]
    contested = contest.contested(known, columns, store.segments.with_spans)
    numbers = store.segments.add([row for row, _, _ in fresh])
    by_dataset: dict[int, list[tuple[Recalled, bool]]] = {}
    answered: dict[int, int] = {}
    for no, (row, new, lease), overlaps in zip(numbers, fresh, contested, strict=True):
        hashes = dict(workings.lease(lease).spec_hashes)
        one = Recalled(row._replace(no=no), new.columns, lease, hashes)
        by_dataset.setdefault(lease.dataset, []).append((one, overlaps))
        successes = row.attempts - row.unsuccessful
        answered[lease.no] = answered.get(lease.no, 0) + successes
    for no, several in by_dataset.items():
        dataset = store.datasets.dataset_by_no(no)
        joining.add_segments(dataset, [one for one, _ in several], [is_ for _, is_ in several])
    store.datasets.answer({no: count for no, count in answered.items() if count})
    joining.end_leases(complete, COMPLETE)


def _segment_row(new: FoundSegment, lease: LeaseRow, bundle: int) -> SegmentRow:
    """Return the row of a new segment, with where its attempts are."""
    columns, entry = new.columns, new.entry
    of = columns.summary
    return SegmentRow(
        digest=entry.digest,
        dataset=lease.dataset,
        bundle=bundle,
        place=new.place,
        lease=lease.no,
        pilot_run=entry.pilot_run,
        batch_id=entry.batch_id,
        attempts=columns.count,
        unsuccessful=columns.count - of.successes,
        local_min=of.local_min,
        local_max=of.local_max,
        generation_max=of.generation_max,
        complete=columns.complete,
        salvaged=columns.salvaged,
        spans=spans(columns),
    )


def join_work(joining: Joining, manifest: Manifest, found: Found) -> None:
    """Join a work bundle's leases and pins; inside a transaction."""
    _join_leases(joining, found)
    if manifest.epoch is not None:
        for one in found.leases.values():
            joining.add_lease_pins(one.lease, manifest.epoch, manifest.commit)


def _join_leases(joining: Joining, found: Found) -> None:
    """Join leases; before them what they tell of their datasets, the newest word first."""
    leases = list(found.leases.values())
    heard: set[tuple[DatasetId, bytes]] = set()
    for one in sorted(leases, key=lambda one: one.told(), reverse=True):
        about = (one.lease.dataset, one.lease.dataset_digest)
        if about not in heard:  # an older word on the same document changes nothing
            heard.add(about)
            joining.hear_of_dataset(one.lease, found.documents.get(about[1]), one.told())
    joining.learn_leases(leases)


def read_commit(workings: Workings, bundle: OpenBundle) -> tuple[Commit, dict[bytes, bytes]]:
    """Return what a commit says, and its documents. Raises MalformedContent, MissingDataset."""
    manifest, where = bundle.manifest, str(bundle.path)
    if manifest.epoch is None:
        raise MalformedContent(where=where, reason="a commit without an epoch")
    raw = bundle.chunk(bundle.one(commits.CHUNK))
    try:
        commit = commits.decode(raw, manifest.epoch, manifest.commit)
    except PulkError as error:
        raise MalformedContent(where=where, reason=error.text()) from error
    named = {of for of, _ in (*commit.controls, *commit.pins)}
    for dataset in named - {one.dataset for one in commit.submissions}:
        if workings.store.datasets.dataset(dataset) is None:
            raise MissingDataset(where=where, dataset=dataset)
    places = bundle.find("dataset")
    return commit, {manifest.chunks[place].digest: bundle.chunk(place) for place in places}


def join_commit(workings: Workings, commit: Commit, documents: dict[bytes, bytes], no: int) -> None:
    """Join one commit of central's own, read back from the archive."""
    for one in commit.submissions:
        joining = Joining(workings, live=False)
        joining.learn_submission(one, documents.get(one.digest))
        joining.finish(no)
    join_controls(workings, commit.controls, documents, no, live=False)
    joining = Joining(workings, live=False)
    for dataset, pin in commit.pins:
        joining.add_pins(workings.dataset(dataset), [pin])
    for kept in commit.remembered:
        workings.store.people.remember(kept.token, kept.key, kept.request, kept.answer)
    for site in commit.presumed:
        end_leases_of(joining, site)
    joining.finish(no)
    for said in commit.access:
        access.join(workings, said)
    archived_people.join(workings, commit.folk)


def join_controls(
    workings: Workings,
    controls: Sequence[tuple[DatasetId, Control]],
    documents: Mapping[bytes, bytes],
    no: int,
    *,
    live: bool,
) -> None:
    """Join the controls of a commit, each by itself; resets first: then an edit finds less."""
    for dataset, control in sorted(controls, key=lambda one: one[1].word is not ControlWord.RESET):
        joining = Joining(workings, live=live)
        if control.document in documents:
            joining.learn_document(control.document, documents[control.document])
        joining.add_control(workings.dataset(dataset), control)
        joining.finish(no)


def end_leases_of(joining: Joining, site: SiteName) -> int:
    """End all live leases of a site that is presumed lost; return how many."""
    store = joining.store
    live = [no for no, *_ in store.datasets.live_of_site(site)]
    joining.end_leases(live, GONE)
    epochs.presume_lost(store, site)
    return len(live)


def join_report(workings: Workings, bundle: OpenBundle, report: Report, raw: bytes) -> None:
    """Keep a site's newest report; leases of works that it holds no more have ended."""
    site, manifest, store = bundle.site, bundle.manifest, workings.store
    assert site is not None  # noqa: S101  a report is signed by a site
    known = store.bundles.site(site).report_marks
    marks = newest.heard(known, manifest.stream, manifest.sequence)
    if marks is not None:
        store.bundles.set_report(site, raw, marks)
    note_received(workings, manifest)
    epochs.heed(workings, site, report.head)
    if marks is not None:
        joining = Joining(workings, live=True)
        joining.end_leases(_gone(workings, manifest, report), GONE)
        joining.finish(0)
        held = [one.bundle for one in report.held]
        calling_off.heard(workings, site, held, dict(manifest.received))
        hearing.heard(workings, site, dict(manifest.received), report)


def _gone(workings: Workings, manifest: Manifest, report: Report) -> list[int]:
    """Return the live leases of works that arrived at the site and are no longer held there.

    A work that central forgot arrived there: the site told of it. What the site refuses for good,
    because its chain of commits was forked and ended, never will be held.
    """
    held = {one.bundle for one in report.held}
    outvoted = {name for name, code in report.refused if code == OUTVOTED}
    received = dict(manifest.received)
    live = workings.store.datasets.live_of_site(SiteName(manifest.producer))
    return [
        no
        for no, work, stream, sequence in live
        if work in outvoted
        or (
            work not in held
            and (not stream or (stream in received and sequence in received[stream]))
        )
    ]
