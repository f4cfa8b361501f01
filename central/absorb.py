"""Absorbing one bundle: verify, authorise, archive, merge in one transaction, then answer.

A known bundle gets its stored disposition. What can't be judged yet is parked and tried again
whenever something lands; what is refused lies in quarantine and has changed nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bundle import canonical
from bundle.errors import PulkError
from bundle.ids import BundleId, DatasetId, LeaseId, SiteName
from bundle.records import report as reports
from bundle.spool import publish
from bundle.wire.errors import BundleRefused, Parkable
from bundle.wire.manifest import CENTRALS_OWN, SITES_OWN, Kind, Manifest
from bundle.wire.read import OpenBundle, open_bundle
from central import intake
from central.archive import SUFFIX
from central.core import commit as commits
from central.core import receipts
from central.core.receipts import Outcome
from central.errors import MalformedContent, MissingDataset, MissingLease, Unbalanced
from central.intake import Found
from central.joining import COMPLETE, GONE, Joining
from central.requests import submit
from central.store.protocol import BundleRow, SegmentRow
from central.workings import Workings

KINDS = frozenset({Kind.RESULT, Kind.TELEMETRY, Kind.REPORT, Kind.SUBMISSION, *CENTRALS_OWN})
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Disposition:
    """What became of a bundle. `bundle` is None where not even its signature could be checked."""

    outcome: Outcome
    code: str = ""
    text: str = ""
    bundle: BundleId | None = None


def absorb(workings: Workings, path: Path, *, live: bool = True) -> Disposition:
    """Take one bundle file; the file itself stays where it is.

    Args:
        workings: the central.
        path: a file of central's own, whole and not written to any more.
        live: False while an archive is replayed: no pins are made.
    """
    try:
        bundle = open_bundle(path, workings.trust, audience=None, kinds=KINDS)
    except BundleRefused as error:
        return _set_aside(workings, path, error)
    with bundle:
        found = _absorb(workings, bundle, live=live)
    if found.outcome is Outcome.MERGED and bundle.manifest.kind not in (
        Kind.REPORT,
        Kind.TELEMETRY,
    ):
        _retry_parked(workings, live=live)
    return found


def recover(workings: Workings) -> None:
    """Merge what a crash left archived but unknown to the database: central's own words first."""
    known = workings.store.bundles.merged_ids()
    unknown = [one for one in workings.archive.ids() if one not in known]
    opened: list[tuple[bool, int, BundleId]] = []
    for one in unknown:
        path = workings.archive.path(one)
        try:
            with open_bundle(path, workings.trust, audience=None, kinds=KINDS) as bundle:
                manifest = bundle.manifest
                opened.append((manifest.kind not in CENTRALS_OWN, manifest.commit, one))
        except BundleRefused as error:
            _LOG.error("archived bundle unreadable", extra={"reason": error.text()})
    for is_sites, _, one in sorted(opened):
        absorb(workings, workings.archive.path(one), live=is_sites)


def _absorb(workings: Workings, bundle: OpenBundle, *, live: bool) -> Disposition:
    """Absorb an open bundle; a refusal is noted with its place in its stream."""
    row = workings.store.bundles.bundle(bundle.id)
    if row is not None and row.outcome != Outcome.PARKED:
        if live:
            with workings.store.transaction():
                workings.store.bundles.tally(f"duplicate {row.kind}")
        return Disposition(Outcome(row.outcome), row.code, row.text, bundle.id)
    try:
        return _merge(workings, bundle, row, live=live)
    except BundleRefused as error:
        outcome = Outcome.PARKED if isinstance(error, Parkable) else Outcome.REFUSED
        return _note_refusal(workings, bundle, row, outcome, error)
    except PulkError as error:
        if error.transient or isinstance(error, Unbalanced):
            raise
        refusal = MalformedContent(where=str(bundle.path), reason=error.text())
        return _note_refusal(workings, bundle, row, Outcome.REFUSED, refusal)


def _merge(
    workings: Workings, bundle: OpenBundle, row: BundleRow | None, *, live: bool
) -> Disposition:
    match bundle.manifest.kind:
        case Kind.RESULT:
            found = intake.read_result(workings, bundle)
            with _archiving(workings, bundle, row) as no:
                _join_result(workings, bundle, found, no, live=live)
        case Kind.WORK:
            found = intake.read_work(bundle)
            with _archiving(workings, bundle, row, len(found.leases)) as no:
                joining = Joining(workings, live=False)
                join_work(joining, bundle.manifest, found)
                joining.finish(no, {})
        case Kind.COMMIT:
            _join_commit(workings, bundle, row)
        case Kind.REPORT:
            _take_report(workings, bundle)
        case Kind.TELEMETRY:
            bundle.check_all()
            with _archiving(workings, bundle, row):
                pass
        case Kind.SUBMISSION:
            raw = bundle.chunk(bundle.one("dataset"))
            submit(workings, raw, bundle.id, 0)
            with _archiving(workings, bundle, row):
                pass
        case _:
            raise MalformedContent(where=str(bundle.path), reason="no kind that is merged")
    return Disposition(Outcome.MERGED, bundle=bundle.id)


@contextmanager
def _archiving(
    workings: Workings, bundle: OpenBundle, row: BundleRow | None, leases: int = 0
) -> Iterator[int]:
    """Note a bundle as merged, yield its number, archive it: one transaction around all of it."""
    bundles, safe = workings.store.bundles, workings.archive.is_safe
    with workings.store.transaction():
        if row is not None:
            no = row.no
            bundles.set_outcome(no, Outcome.MERGED, "", "", safe=safe)
        else:
            fresh = bundle_row(bundle, Outcome.MERGED, leases=leases)
            no = bundles.add_bundle(fresh._replace(safe=safe))
        _note_receipt(workings, bundle.manifest, Outcome.MERGED, safe=safe)
        yield no
        workings.archive.put(bundle.path, bundle.id)


def bundle_row(
    bundle: OpenBundle, outcome: Outcome, code: str = "", text: str = "", *, leases: int = 0
) -> BundleRow:
    """Return the row of a verified bundle."""
    m = bundle.manifest
    return BundleRow(
        id=bundle.id,
        kind=m.kind.value,
        producer=m.producer,
        audience=m.audience,
        stream=m.stream,
        sequence=m.sequence,
        epoch=m.epoch,
        commit=m.commit,
        created_us=m.created_us,
        size_bytes=bundle.path.stat().st_size,
        leases=leases,
        outcome=outcome,
        code=code,
        text=text,
    )


def _join_result(
    workings: Workings, bundle: OpenBundle, found: Found, no: int, *, live: bool
) -> None:
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
            bundle=no,
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
    store.tasks.add_files(file._replace(bundle=no) for file in found.files)
    joining.finish(no, numbers)
    _note_received(workings, bundle.manifest)


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


def _join_commit(workings: Workings, bundle: OpenBundle, row: BundleRow | None) -> None:
    manifest = bundle.manifest
    if manifest.epoch is None:
        raise MalformedContent(where=str(bundle.path), reason="a commit without an epoch")
    raw = bundle.chunk(bundle.one(commits.CHUNK))
    commit = commits.decode(raw, manifest.epoch, manifest.commit)
    documents = {
        manifest.chunks[place].digest: bundle.chunk(place) for place in bundle.find("dataset")
    }
    for dataset in {of for of, _ in (*commit.controls, *commit.pins)}:
        if workings.store.datasets.dataset(dataset) is None:
            raise MissingDataset(where=str(bundle.path), dataset=dataset)
    with _archiving(workings, bundle, row) as no:
        joining = Joining(workings, live=False)
        for one in commit.submissions:
            known = joining.learn_dataset(one.dataset, one.digest, documents.get(one.digest))
            workings.store.datasets.set_submitted(known.no, one.at_us)
        for dataset, control in commit.controls:
            joining.add_control(workings.dataset(dataset), control)
        for dataset, pin in commit.pins:
            joining.add_pins(workings.dataset(dataset), [pin])
        for kept in commit.remembered:
            workings.store.people.remember(kept.token, kept.key, kept.request, kept.answer)
        joining.finish(no, {})


def _take_report(workings: Workings, bundle: OpenBundle) -> None:
    """Keep a site's newest report; leases of works that it holds no more have ended."""
    raw = bundle.chunk(bundle.one(reports.CHUNK))
    report = reports.decode(raw)
    site = bundle.site
    assert site is not None  # noqa: S101  a report is signed by a site
    manifest, store = bundle.manifest, workings.store
    with store.transaction():
        _note_receipt(workings, manifest, Outcome.MERGED, safe=True)
        newest = report.at_us > store.bundles.site(site).report_us
        if newest:
            store.bundles.set_report(site, raw, report.at_us)
        _note_received(workings, manifest)
        if newest:
            held = {one.bundle for one in report.held}
            received = dict(manifest.received)
            gone = [
                no
                for no, work, stream, sequence in store.datasets.live_of_site(site)
                if work not in held and stream in received and sequence in received[stream]
            ]
            if gone:
                joining = Joining(workings, live=True)
                joining.end_leases(gone, GONE)
                joining.finish(0, {})
    workings.version += newest


def _note_received(workings: Workings, manifest: Manifest) -> None:
    site = workings.store.bundles.site(SiteName(manifest.producer))
    if manifest.created_us > site.received_us:
        rows = [[stream, numbers.to_wire()] for stream, numbers in manifest.received]
        raw = canonical.encode(rows)
        workings.store.bundles.set_received(site.name, raw, manifest.created_us)


def _note_receipt(
    workings: Workings, manifest: Manifest, outcome: Outcome, code: str = "", *, safe: bool = False
) -> None:
    if manifest.kind not in SITES_OWN:
        return
    bundles = workings.store.bundles
    old = bundles.receipt(manifest.stream)
    joined = receipts.note(old, manifest.sequence, outcome, code, safe=safe)
    if joined != old:
        bundles.save_receipt(manifest.producer, joined)
        if manifest.kind is Kind.RESULT:
            bundles.add_news(SiteName(manifest.producer))


def _note_refusal(
    workings: Workings,
    bundle: OpenBundle,
    row: BundleRow | None,
    outcome: Outcome,
    error: BundleRefused,
) -> Disposition:
    """Keep a verified bundle that was not merged, and tell its site by receipt."""
    folder = workings.home.parked if outcome is Outcome.PARKED else workings.home.quarantine
    _keep(bundle.path, folder / f"{bundle.id}{SUFFIX}")
    text = error.text()
    with workings.store.transaction():
        if row is None:
            fresh = bundle_row(bundle, outcome, error.code, text)
            missing = _missing(error, bundle.manifest)
            workings.store.bundles.add_bundle(fresh._replace(missing=missing))
        else:
            missing = _missing(error, bundle.manifest)
            bundles = workings.store.bundles
            bundles.set_outcome(row.no, outcome, error.code, text, safe=False, missing=missing)
        _note_receipt(workings, bundle.manifest, outcome, error.code)
    if row is not None and outcome is Outcome.REFUSED:
        publish.remove(workings.home.parked / f"{bundle.id}{SUFFIX}")
    _LOG.warning("bundle not merged", extra={"outcome": outcome.value, "reason": text})
    return Disposition(outcome, error.code, text, bundle.id)


def _set_aside(workings: Workings, path: Path, error: BundleRefused) -> Disposition:
    """Keep a file of which not even the signature holds; nothing is told by receipt."""
    parkable = isinstance(error, Parkable)
    folder = workings.home.parked if parkable else workings.home.quarantine
    _keep(path, folder / f"{os.urandom(8).hex()}-{error.code}{SUFFIX}")
    if not parkable:
        with workings.store.transaction():
            workings.store.bundles.tally("rejected")
    _LOG.warning("bundle set aside", extra={"reason": error.text()})
    outcome = Outcome.PARKED if parkable else Outcome.REFUSED
    return Disposition(outcome, error.code, error.text())


def _keep(source: Path, target: Path) -> None:
    if source != target and not target.exists():
        os.link(source, target, follow_symlinks=False)
        publish.fsync_folder(target.parent)


def _retry_parked(workings: Workings, *, live: bool) -> None:
    """Try again what was parked and could now be merged, as long as that brings something on."""
    while True:
        moved = False
        for row in workings.store.bundles.parked():
            path = workings.home.parked / f"{row.id}{SUFFIX}"
            if not path.exists() or not _may_go(workings, row):
                continue
            with open_bundle(path, workings.trust, audience=None, kinds=KINDS) as bundle:
                found = _absorb(workings, bundle, live=live)
            if found.outcome is not Outcome.PARKED:
                publish.remove(path)
                moved = True
        if not moved:
            return


def _missing(error: BundleRefused, manifest: Manifest) -> str:
    """Return what would unblock a parked bundle, in words for `_may_go`."""
    match error:
        case MissingLease():
            lease = str(error.fields["lease"])
            of = {entry.work for entry in manifest.segments if entry.lease.hex() == lease}
            return " ".join(("lease", lease, *sorted(of)))
        case MissingDataset():
            return f"dataset {error.fields['dataset']}"
    return ""


def _may_go(workings: Workings, row: BundleRow) -> bool:
    """Return whether what a parked bundle missed is there now; True where that is not known."""
    datasets = workings.store.datasets
    match row.missing.split():
        case ["lease", lease, *works]:
            known = datasets.lease(LeaseId(bytes.fromhex(lease))) is not None
            return known or any(datasets.work(BundleId(work)) is not None for work in works)
        case ["dataset", dataset]:
            return datasets.dataset(DatasetId(dataset)) is not None
    return True
