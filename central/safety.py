"""What makes a bundle safe besides enough devices: a finished backup that holds it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from bundle.ids import SiteName, StreamId
from bundle.intervals import IntervalSet
from bundle.wire.manifest import SITES_OWN, Kind
from central import backup_record as records
from central import epochs
from central.backup_record import POOL, Listed, Record
from central.blob.folder import FolderBlobs
from central.core.receipts import Outcome
from central.store.rows import BundleRow
from central.workings import Workings

BACKUP = "backup"  # in the store: what the newest finished backup was


def snapshot(workings: Workings, to: Path) -> dict[str, Any]:
    """Return what a backup says of central at this moment; `to` is the copy of the database."""
    epoch, store = workings.epoch, workings.store
    configured_ms = int(workings.config.planner.lease_hours * 3_600_000)
    return {
        "file": str(to),
        "epoch": epoch.counter,
        "nonce": epoch.nonce.hex(),
        "commit": store.bundles.head(epoch),
        "lease_ms": max(configured_ms, int(store.people.meta(epochs.HORIZON) or b"0")),
    }


def cover(workings: Workings, folder: Path, record: Record) -> dict[str, Any]:
    """Call safe what a finished backup on another device holds, and let receipts say so.

    `record` was read from the folder before, which compares its files. Raises BackupDamaged.
    """
    apart = FolderBlobs(folder).place != workings.archive.place
    listed = {one.id: one for one in records.bundles(folder)} if apart else {}
    pool = folder.parent / POOL
    rows = [
        row
        for row in workings.store.bundles.unsafe()
        if row.id in listed and _is_there(pool, listed[row.id])
    ]
    with workings.transaction():
        mark(workings, rows)
        about = {"made_us": record.made_us, "where": str(folder), "apart": apart}
        workings.store.people.set_meta(BACKUP, json.dumps(about).encode())
    return {"covered": len(rows), "apart": apart}


def catch_up(workings: Workings) -> int:
    """Give mirrors what they lack, where one may lack something; return what is safe by it now.

    A mirror that still fails is asked again with the next bundle that is put.
    """
    archive = workings.archive
    if not archive.is_behind:
        return 0
    archive.is_behind = False  # set again by what fails now
    rows = []
    for row in workings.store.bundles.unsafe():
        if archive.has(row.id) and archive.mend(row.id):
            rows.append(row)
        if archive.is_behind:
            break
    if rows:
        with workings.transaction():
            mark(workings, rows)
    return len(rows)


def mark(workings: Workings, rows: list[BundleRow]) -> None:
    """Call merged bundles safe, in their streams' receipts too; inside a transaction."""
    bundles = workings.store.bundles
    by_stream: dict[tuple[str, bytes], list[int]] = {}
    for row in rows:
        bundles.set_outcome(row.no, Outcome.MERGED, "", "", safe=True)
        if Kind(row.kind) in SITES_OWN:
            by_stream.setdefault((row.producer, row.stream), []).append(row.sequence)
    told = set()
    for (producer, stream), numbers in by_stream.items():
        old = bundles.receipt(StreamId(stream))
        fresh = replace(old, safe=old.safe | (IntervalSet.of(numbers) & old.merged))
        if fresh != old:
            bundles.save_receipt(producer, fresh)
            told.add(producer)
    for producer in told:
        bundles.add_news(SiteName(producer))


def newest_backup(raw: bytes | None) -> dict[str, Any] | None:
    """Return what was noted of the newest finished backup: made_us, where, apart."""
    return dict(json.loads(raw)) if raw else None


def _is_there(pool: Path, one: Listed) -> bool:
    try:
        return records.pool_path(pool, one.id).stat().st_size == one.size_bytes
    except OSError:
        return False
