"""Joining what each kind of verified bundle brings; every function runs inside a transaction."""

from __future__ import annotations

from bundle.errors import PulkError
from bundle.ids import SiteName
from bundle.records.head import OUTVOTED
from bundle.records.report import Report
from bundle.wire.manifest import Manifest
from bundle.wire.read import OpenBundle
from central import epochs
from central.core import commit as commits
from central.core import newest
from central.core.commit import Commit
from central.errors import MalformedContent, MissingDataset
from central.intake import Found
from central.joining import COMPLETE, GONE, Joining, Merged
from central.noting import note_received
from central.store.rows import SegmentRow
from central.workings import Workings


def join_result(
    workings: Workings, bundle: OpenBundle, found: Found, merged: Merged, *, live: bool
) -> None:
    """Join a result bundle: what it explains itself with, then its attempts, outcomes, files."""
    joining = Joining(workings, live=live)
    store = workings.store
    for one in found.leases.values():
        lease = one.lease
        joining.learn_dataset(
            lease.dataset, lease.dataset_digest, found.documents.get(lease.dataset_digest)
        )
        joining.learn_lease(lease, one.raw, one.digest, one.work)
    numbers: dict[bytes, int] = {}
    complete: list[int] = []
    for new in found.segments:
        entry, segment = new.entry, new.segment
        row = store.datasets.lease(entry.lease)
        assert row is not None  # noqa: S101  intake found it or learned it
        kept = SegmentRow(
            digest=entry.digest,
            bundle=merged.no,
            place=new.place,
            lease=row.no,
            pilot_run=entry.pilot_run,
            batch_id=entry.batch_id,
            attempts=len(new.facts),
            complete=segment.complete,
            salvaged=segment.salvaged_at is not None,
        )
        number = store.datasets.add_segment(kept)
        numbers.update((fact.content, number) for fact in new.facts)
        joining.add_attempts(store.datasets.dataset_by_no(row.dataset), new.facts)
        if segment.complete:
            complete.append(row.no)
    joining.end_leases(complete, COMPLETE)
    store.tasks.add_outcomes(found.outcomes)
    store.tasks.add_files(file._replace(bundle=merged.no) for file in found.files)
    merged.pins = joining.settle(merged.no, numbers)
    note_received(workings, bundle.manifest)


def join_work(joining: Joining, manifest: Manifest, found: Found) -> None:
    """Join a work bundle's leases and pins; inside a transaction."""
    for one in found.leases.values():
        lease = one.lease
        joining.learn_dataset(
            lease.dataset, lease.dataset_digest, found.documents.get(lease.dataset_digest)
        )
        joining.learn_lease(lease, one.raw, one.digest, one.work)
        if manifest.epoch is not None:
            joining.add_lease_pins(lease, manifest.epoch, manifest.commit)


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
    for dataset in {of for of, _ in (*commit.controls, *commit.pins)}:
        if workings.store.datasets.dataset(dataset) is None:
            raise MissingDataset(where=where, dataset=dataset)
    places = bundle.find("dataset")
    return commit, {manifest.chunks[place].digest: bundle.chunk(place) for place in places}


def join_commit(workings: Workings, commit: Commit, documents: dict[bytes, bytes], no: int) -> None:
    """Join one commit of central's own, read back from the archive."""
    joining = Joining(workings, live=False)
    for one in commit.submissions:
        joining.learn_submission(one, documents.get(one.digest))
    for dataset, control in commit.controls:
        joining.add_control(workings.dataset(dataset), control)
    for dataset, pin in commit.pins:
        joining.add_pins(workings.dataset(dataset), [pin])
    for kept in commit.remembered:
        workings.store.people.remember(kept.token, kept.key, kept.request, kept.answer)
    for site in commit.presumed:
        end_leases_of(joining, site)
    joining.finish(no, {})


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
        joining.finish(0, {})


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
