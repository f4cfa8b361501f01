"""Noting that a bundle came: its row, its place in the stream's receipt, what its site received."""

from __future__ import annotations

from bundle import canonical
from bundle.ids import SiteName
from bundle.wire.manifest import SITES_OWN, Kind, Manifest
from bundle.wire.read import OpenBundle
from central import hearing, silence
from central.core import newest, receipts
from central.core.receipts import Outcome
from central.store.rows import BundleRow
from central.workings import Workings


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


def note_receipt(
    workings: Workings, manifest: Manifest, outcome: Outcome, code: str = "", *, safe: bool = False
) -> None:
    """Join a site's bundle to the receipt of its stream; inside a transaction."""
    if manifest.kind not in SITES_OWN:
        return
    bundles = workings.store.bundles
    old = bundles.receipt(manifest.stream)
    joined = receipts.note(old, manifest.sequence, outcome, code, safe=safe)
    if joined != old:
        bundles.save_receipt(manifest.producer, joined)
        silence.note(workings, SiteName(manifest.producer))
        if manifest.kind is Kind.RESULT:
            bundles.add_news(SiteName(manifest.producer))


def note_received(workings: Workings, manifest: Manifest) -> None:
    """Keep what a site says it received of central's streams, where that is its newest word."""
    site = workings.store.bundles.site(SiteName(manifest.producer))
    marks = newest.heard(site.received_marks, manifest.stream, manifest.sequence)
    if marks is not None:
        rows = [[stream, numbers.to_wire()] for stream, numbers in manifest.received]
        workings.store.bundles.set_received(site.name, canonical.encode(rows), marks)
        hearing.heard(workings, site.name, dict(manifest.received))
