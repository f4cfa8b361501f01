"""What a site reports to have is not sent again: copies of work bundles without those chunks.

The copy has the same manifest, so the same id and leases. A site that no longer has what it
reported says so (`absent-chunk`), and is sent the whole bundle.
"""

from __future__ import annotations

from pathlib import Path

from bundle.digest import digest
from bundle.ids import BundleId, SiteName
from bundle.records import report as reports
from bundle.records.report import Report
from bundle.wire import thin
from bundle.wire.entries import DATA, PIECE, ChunkEntry, piece_of
from bundle.wire.errors import AbsentChunk
from central.home import Home
from central.workings import Workings

SPARED_BYTES_MIN = 4096  # what saves less is sent whole
_SPARED = frozenset({"dataset", DATA, PIECE})


def for_site(workings: Workings, site: SiteName, bundle: BundleId) -> Path:
    """Return the file to send: the archived bundle, or a copy without what the site has.

    The copy lies in `deltas/` until the site's next one is made; it can always be made again.
    """
    whole = workings.archive.path(bundle)
    raw = workings.store.bundles.site(site).report
    spared = _spared(whole, bundle, reports.decode(raw)) if raw else frozenset()
    if not spared:
        return whole
    copy = workings.home.deltas / f"{site}.{bundle}.{_tag(spared)}.pulk"
    if not copy.exists():
        for old in workings.home.deltas.glob(f"{site}.{bundle}.*"):
            old.unlink(missing_ok=True)
        with thin.opened(whole) as found:
            keep = frozenset(range(len(found.places))) - spared
        thin.write_thin(whole, copy, keep)
    return copy


def sweep(home: Home) -> None:
    """Remove all copies, as central does when it starts."""
    for path in home.deltas.iterdir():
        path.unlink(missing_ok=True)


def forget(home: Home, site: SiteName, waiting: frozenset[BundleId]) -> None:
    """Remove the copies for a site of what it no longer waits for."""
    for path in home.deltas.glob(f"{site}.*"):
        if path.name.split(".")[1] not in waiting:
            path.unlink(missing_ok=True)


def _spared(whole: Path, bundle: BundleId, report: Report) -> frozenset[int]:
    """Return the places of the chunks that the site need not be sent."""
    has = frozenset(report.has)
    if not has or (bundle, AbsentChunk.code) in report.refused:
        return frozenset()
    with thin.opened(whole) as found:
        spared = frozenset(
            place
            for place, entry in enumerate(found.manifest.chunks)
            if entry.kind in _SPARED and _what(entry) in has
        )
        saved = sum(found.places[place].stored_bytes for place in spared)
    return spared if saved >= SPARED_BYTES_MIN else frozenset()


def _tag(spared: frozenset[int]) -> str:
    """Return what tells copies of one bundle apart by what they come without."""
    return digest("delta", repr(sorted(spared)).encode()).hex()[:16]


def _what(entry: ChunkEntry) -> bytes:
    return piece_of(entry)[0] if entry.kind == PIECE else entry.digest
