"""What is not merged: parked until something lands, or refused into quarantine; nothing is lost."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle.digest import file_digest
from bundle.ids import BundleId, DatasetId, LeaseId
from bundle.limits import GIB, MIB
from bundle.spool import publish
from bundle.wire.errors import BundleRefused, Parkable
from bundle.wire.manifest import Manifest
from bundle.wire.read import OpenBundle
from central.archive import SUFFIX
from central.core.receipts import Outcome
from central.errors import MissingDataset, MissingLease, TooManyStrangers
from central.noting import bundle_row, note_receipt
from central.store.rows import BundleRow
from central.workings import Workings

COMPARED_BYTES_MAX = 64 * MIB
STRANGERS_MAX = 1000  # of both: files, and bytes, of signers that are not known
STRANGERS_BYTES_MAX = 64 * GIB
STRANGER = "unverified"  # starts the names of files that are kept without a known signer
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Disposition:
    """What became of a bundle. `bundle` is None where not even its signature could be checked."""

    outcome: Outcome
    code: str = ""
    text: str = ""
    bundle: BundleId | None = None

    @classmethod
    def of(cls, row: BundleRow) -> Disposition:
        """Return what became of a bundle that came before."""
        return cls(Outcome(row.outcome), row.code, row.text, row.id)


def refuse(workings: Workings, bundle: OpenBundle, error: BundleRefused) -> Disposition:
    """Keep a verified bundle that can't be merged (now), and tell its site by receipt."""
    outcome = Outcome.PARKED if isinstance(error, Parkable) else Outcome.REFUSED
    folder = workings.home.parked if outcome is Outcome.PARKED else workings.home.quarantine
    _keep(bundle.path, folder / f"{bundle.id}{SUFFIX}")
    text = error.text()
    with workings.transaction():
        row = workings.store.bundles.bundle(bundle.id)
        if row is not None and row.outcome != Outcome.PARKED:  # another process was faster
            leave(workings, bundle.id)
            return Disposition.of(row)
        if row is None:
            fresh = bundle_row(bundle, outcome, error.code, text)
            missing = _missing(error, bundle.manifest)
            workings.store.bundles.add_bundle(fresh._replace(missing=missing))
        else:
            missing = _missing(error, bundle.manifest)
            bundles = workings.store.bundles
            bundles.set_outcome(row.no, outcome, error.code, text, safe=False, missing=missing)
        note_receipt(workings, bundle.manifest, outcome, error.code)
    if row is not None and outcome is Outcome.REFUSED:
        leave(workings, bundle.id)
    _LOG.warning("bundle not merged", extra={"outcome": outcome.value, "reason": text})
    return Disposition(outcome, error.code, text, bundle.id)


def set_aside(workings: Workings, path: Path, error: BundleRefused) -> Disposition:
    """Keep a file of which not even the signature holds; nothing is told by receipt."""
    parkable = isinstance(error, Parkable)
    folder = workings.home.parked if parkable else workings.home.quarantine
    target = folder / f"{STRANGER}-{error.code}-{_told_apart(path)}{SUFFIX}"
    if parkable and path != target and not target.exists() and _is_full(workings, path):
        full = TooManyStrangers(where=str(path), reason=error.text())
        _LOG.warning("a stranger's bundle is not kept", extra={"reason": full.text()})
        return Disposition(Outcome.REFUSED, full.code, full.text())
    _keep(path, target)
    if not parkable:
        with workings.transaction():
            workings.store.bundles.tally("rejected")
    _LOG.warning("bundle set aside", extra={"reason": error.text()})
    outcome = Outcome.PARKED if parkable else Outcome.REFUSED
    return Disposition(outcome, error.code, error.text())


def leave(workings: Workings, bundle: BundleId) -> None:
    """Remove the file of a bundle that is parked no more."""
    publish.remove(workings.home.parked / f"{bundle}{SUFFIX}")


def unblocked(workings: Workings) -> Iterator[Path]:
    """Yield the files of parked bundles that what landed may have unblocked."""
    for row in workings.store.bundles.parked():
        path = workings.home.parked / f"{row.id}{SUFFIX}"
        if path.exists() and _may_go(workings, row):
            yield path


def sweep(workings: Workings) -> None:
    """Remove the files of parked bundles that another process merged meanwhile, as they came."""
    parked = {row.id for row in workings.store.bundles.parked()}
    for path in workings.home.parked.glob(f"*{SUFFIX}"):
        if not path.name.startswith(STRANGER) and path.stem not in parked:
            row = workings.store.bundles.bundle(BundleId(path.stem))
            if row is not None:
                publish.remove(path)


def strangers(workings: Workings) -> list[Path]:
    """Return the parked files whose signer was not known; nothing of them is verified."""
    return sorted(workings.home.parked.glob(f"{STRANGER}-*{SUFFIX}"))


def _is_full(workings: Workings, path: Path) -> bool:
    """Return whether no more is kept of signers that are not known; anybody can bring that."""
    count, total = 0, path.lstat().st_size
    for one in strangers(workings):
        with contextlib.suppress(FileNotFoundError):  # another process took it
            total += one.lstat().st_size
            count += 1
    return count >= STRANGERS_MAX or total > STRANGERS_BYTES_MAX


def _told_apart(path: Path) -> str:
    """Return a name's part, so that the same file, brought again, is kept once.

    What is no plain file, or so large that reading it would be a way to keep central busy, is kept
    each time.
    """
    state = path.lstat()
    if stat.S_ISREG(state.st_mode) and state.st_size <= COMPARED_BYTES_MAX:
        return file_digest(path).hex()[:32]
    return os.urandom(16).hex()


def _keep(source: Path, target: Path) -> None:
    if source != target and not target.exists():
        os.link(source, target, follow_symlinks=False)
        publish.fsync_folder(target.parent)


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
