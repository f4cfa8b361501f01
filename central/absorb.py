"""Absorbing one bundle: verify, authorise, archive, merge in one transaction, then answer.

A known bundle gets its stored disposition. What can't be judged yet is parked and tried again
whenever something lands; what is refused lies in quarantine and has changed nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bundle.dataset import spec
from bundle.errors import PulkError
from bundle.ids import BundleId
from bundle.records import report as reports
from bundle.spool import publish
from bundle.wire.errors import (
    AbsentChunk,
    Bomb,
    BundleRefused,
    ChunkMismatch,
    NotABundleFile,
    Parkable,
    Truncated,
)
from bundle.wire.manifest import CENTRALS_OWN, Kind
from bundle.wire.read import OpenBundle, open_bundle
from central import arriving, cosignatures, intake, others, parking, submission
from central.archive import SUFFIX
from central.core.receipts import Outcome
from central.errors import (
    ArchiveIncomplete,
    BlockDamaged,
    JoinFailed,
    MalformedContent,
    Unbalanced,
)
from central.joining import Joining, Merged, publish_pins
from central.noting import bundle_row, note_receipt
from central.parking import Disposition
from central.requests import submit
from central.store.rows import BundleRow
from central.workings import Workings

KINDS = frozenset(Kind)
FROM_OUTSIDE = KINDS - CENTRALS_OWN  # central reads its own words in its own archive alone
LOSSY = frozenset({Kind.REPORT, Kind.TELEMETRY})
# What is said of a copy, not of the bundle:
DAMAGED = (AbsentChunk, Bomb, ChunkMismatch, NotABundleFile, Truncated)
INTERNAL = (BlockDamaged, JoinFailed, Unbalanced)  # what is said of central, not of a bundle
WITHDRAWN = "withdrawn"  # starts the names of central's own words that were never committed
NOBODY = 0  # the token of a submission that came as a bundle
_LOG = logging.getLogger(__name__)

__all__ = ["KINDS", "Disposition", "absorb", "recover"]


def absorb(workings: Workings, path: Path, *, live: bool = True) -> Disposition:
    """Take one bundle file; the file itself stays where it is.

    Args:
        workings: the central.
        path: a file of central's own, whole and not written to any more.
        live: False while an archive is replayed: no pins are made.
    """
    try:
        kinds = FROM_OUTSIDE if live else KINDS
        bundle = open_bundle(path, workings.trust, audience=None, kinds=kinds)
    except BundleRefused as error:
        return parking.set_aside(workings, path, error)
    with bundle:
        found = _absorb(workings, bundle, live=live)
    if found.outcome is Outcome.MERGED and bundle.manifest.kind not in LOSSY:
        _retry_parked(workings, live=live)
    return found


def recover(workings: Workings, *, is_alone: bool = True) -> None:
    """Merge what a crash left archived but unknown to the database: central's own words first.

    Args:
        workings: the central.
        is_alone: False where other processes of this central go on meanwhile. What a crashed one
            had archived but not committed, it told nobody; another may have used its number since.
            Such words are put into quarantine.
    """
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
            _LOG.error("archived bundle does not count", extra={"reason": error.text()})
    for is_sites, _, one in sorted(opened):
        try:
            if is_alone:
                absorb(workings, workings.archive.path(one), live=is_sites)
            else:
                _recover_beside(workings, one, live=is_sites)
        except (ArchiveIncomplete, *INTERNAL) as error:
            if not is_sites:
                raise  # else the next commit would take its number
            # The next start tries again; until then all others count.
            _LOG.error("an archived bundle can't be merged", extra={"reason": error.text()})
    retry_strangers(workings)


class _NotMerged(Exception):
    """What can't be merged must be noted in a transaction of its own, without what was tried."""


def _recover_beside(workings: Workings, bundle: BundleId, *, live: bool) -> None:
    """Merge one archived bundle, unless its process merges or takes it back, or lost its number.

    All under the lock: then no living process has one that it did not commit.
    """
    try:
        with workings.transaction():
            path = workings.archive.path(bundle)
            if workings.store.bundles.bundle(bundle) is not None or not path.exists():
                return
            if not live and _is_overtaken(workings, path):
                _LOG.error("a word that nobody heard is withdrawn", extra={"bundle": bundle})
                target = workings.home.quarantine / f"{WITHDRAWN}-{bundle}{SUFFIX}"
                workings.archive.copy(bundle, target)
                workings.archive.take_back(bundle)
            elif absorb(workings, path, live=live).outcome is not Outcome.MERGED:
                raise _NotMerged
    except _NotMerged:
        absorb(workings, workings.archive.path(bundle), live=live)


def _is_overtaken(workings: Workings, path: Path) -> bool:
    """Return whether a bundle of central's own has a number that was given to another one."""
    with open_bundle(path, workings.trust, audience=None, kinds=KINDS) as bundle:
        row = bundle_row(bundle, Outcome.MERGED)
    bundles = workings.store.bundles
    of_epoch = row.epoch is not None and bundles.of_commit(row.epoch, row.commit)
    return bool(of_epoch) or bool(bundles.rivals(row))


def came_again(workings: Workings, row: BundleRow) -> None:
    """Count that a known bundle came once more."""
    with workings.transaction():
        workings.store.bundles.tally(f"duplicate {row.kind}")


def _absorb(workings: Workings, bundle: OpenBundle, *, live: bool) -> Disposition:
    """Absorb an open bundle; a refusal is noted with its place in its stream."""
    row = workings.store.bundles.bundle(bundle.id)
    if row is not None and row.outcome != Outcome.PARKED:
        if live:
            came_again(workings, row)
        return Disposition.of(row)
    try:
        found = _merge(workings, bundle, live=live)
    except _Overtaken as error:
        found = error.found
    except DAMAGED as error:
        return parking.set_aside(workings, bundle.path, error)  # a whole copy may still come
    except BundleRefused as error:
        return (_park if isinstance(error, Parkable) else parking.refuse)(workings, bundle, error)
    except PulkError as error:
        if error.transient or isinstance(error, INTERNAL):
            raise
        refusal = MalformedContent(where=str(bundle.path), reason=error.text())
        return parking.refuse(workings, bundle, refusal)
    if row is not None:
        parking.leave(workings, bundle.id)
    return found


def _park(workings: Workings, bundle: OpenBundle, error: BundleRefused) -> Disposition:
    """Keep what can't be judged yet, if this copy of it is whole: its site sends it no more."""
    try:
        bundle.check_all()
    except DAMAGED as damage:
        return parking.set_aside(workings, bundle.path, damage)
    return parking.refuse(workings, bundle, error)


class _Overtaken(Exception):
    """Another process absorbed the same bundle while this one read it."""

    def __init__(self, found: Disposition) -> None:
        self.found = found


def _merge(workings: Workings, bundle: OpenBundle, *, live: bool) -> Disposition:
    if live and bundle.manifest.kind is Kind.SUBMISSION:
        bundle.check_all()  # what is read of these is not all that is archived
    match bundle.manifest.kind:
        case Kind.RESULT:
            found = intake.read_result(workings, bundle)
            with _archiving(workings, bundle) as merged:
                intake.look_again(workings, found)
                arriving.join_result(workings, bundle, found, merged, live=live)
        case Kind.WORK:
            found, signed = intake.read_work(bundle), cosignatures.read(bundle)
            with _archiving(workings, bundle, len(found.leases)) as merged:
                joining = Joining(workings, live=False)
                arriving.join_work(joining, bundle.manifest, found)
                joining.finish(merged.no)
                cosignatures.keep(workings, signed)
        case Kind.COMMIT:
            commit, documents = arriving.read_commit(workings, bundle)
            signed = cosignatures.read(bundle)
            with _archiving(workings, bundle) as merged:
                arriving.join_commit(workings, commit, documents, merged.no)
                cosignatures.keep(workings, signed)
        case Kind.REPORT:
            raw = bundle.chunk(bundle.one(reports.CHUNK))
            report = reports.decode(raw)
            with workings.transaction():
                note_receipt(workings, bundle.manifest, Outcome.MERGED, safe=True)
                arriving.join_report(workings, bundle, report, raw)
        case Kind.TELEMETRY:
            bundle.check_all()
            with _archiving(workings, bundle):
                pass  # it is kept, nothing rests on it
        case Kind.SUBMISSION:
            given = submission.read(bundle)
            if live and workings.signer is not None:
                if workings.store.people.remembered(NOBODY, bundle.id) is None:
                    of = workings.dag(spec.dataset_digest(given.raw), given.raw).dataset
                    others.check(workings, of, others.signer(workings, given.user))
                submit(workings, given, bundle.id, NOBODY)
            with _archiving(workings, bundle):
                pass  # its commit holds what counts, and came before it
        case Kind.DATA:
            rows = intake.read_data(bundle)
            with _archiving(workings, bundle) as merged:
                workings.store.tasks.add_files(one._replace(bundle=merged.no) for one in rows)
    return Disposition(Outcome.MERGED, bundle=bundle.id)


@contextmanager
def _archiving(workings: Workings, bundle: OpenBundle, leases: int = 0) -> Iterator[Merged]:
    """Note a bundle as merged, let it be joined, archive it: one transaction around all of it.

    Pins that it makes central state are archived after it, so that no pin names what is nowhere.
    """
    bundles, safe = workings.store.bundles, workings.archive.is_safe
    with _blaming_central(bundle), workings.transaction():
        row = bundles.bundle(bundle.id)
        if row is not None and row.outcome != Outcome.PARKED:
            raise _Overtaken(Disposition.of(row))
        if row is not None:
            merged = Merged(row.no)
            bundles.set_outcome(row.no, Outcome.MERGED, "", "", safe=safe)
        else:
            fresh = bundle_row(bundle, Outcome.MERGED, leases=leases)
            merged = Merged(bundles.add_bundle(fresh._replace(safe=safe)))
            if rivals := bundles.rivals(fresh):
                # Two ticks of one relay at once are honest: both are kept, people are told.
                bundles.tally("equivocation")
                _LOG.error("two bundles of one number", extra={"bundles": [bundle.id, *rivals]})
        yield merged
        if workings.archive.put(bundle.path, bundle.id) != safe:
            safe = not safe  # a mirror failed, or is back
            bundles.set_outcome(merged.no, Outcome.MERGED, "", "", safe=safe)
        note_receipt(workings, bundle.manifest, Outcome.MERGED, safe=safe)
        publish_pins(workings, merged.pins)


@contextmanager
def _blaming_central(bundle: OpenBundle) -> Iterator[None]:
    """Let nothing that fails while a bundle is joined look like a refusal of it."""
    try:
        yield
    except PulkError as error:
        if error.transient or isinstance(error, (BundleRefused, *INTERNAL)):
            raise
        raise JoinFailed(where=str(bundle.path), reason=error.text()) from error


def _retry_parked(workings: Workings, *, live: bool) -> None:
    """Try again what was parked and could now be merged, as long as that brings something on."""
    moved = True
    while moved:
        moved = False
        for path in parking.unblocked(workings):
            try:
                with open_bundle(path, workings.trust, audience=None, kinds=KINDS) as bundle:
                    found = _absorb(workings, bundle, live=live)
            except (ArchiveIncomplete, *INTERNAL) as error:
                _LOG.error("a parked bundle can't be merged", extra={"reason": error.text()})
                continue
            except BundleRefused as error:
                if isinstance(error, Parkable):
                    continue  # its key was revoked meanwhile
                found = parking.set_aside(workings, path, error)  # it was damaged here
            if found.outcome is not Outcome.PARKED:
                publish.remove(path)
                moved = True


def retry_all(workings: Workings) -> None:
    """Try again all that is parked: another trust version may admit it."""
    retry_strangers(workings)
    _retry_parked(workings, live=True)


def retry_strangers(workings: Workings) -> int:
    """Try again the files whose signers were not known, and may be now; return how many merged."""
    merged = 0
    for path in parking.strangers(workings):
        try:
            open_bundle(path, workings.trust, audience=None, kinds=KINDS).close()
        except BundleRefused as error:
            if isinstance(error, Parkable):
                continue
        merged += absorb(workings, path).outcome is Outcome.MERGED
        publish.remove(path)
    return merged
