"""`pulk central restore`: a central out of a backup, in a new epoch; and `take-over` in place.

Everything is put together beside the new folder, which gets its name last: a kill leaves the folder
that is not there yet, or the whole. What the archive has and the database has not is merged before
the epoch begins. The backup is read, never changed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle.ids import BundleId
from bundle.spool import publish
from central import absorb, epochs
from central import backup_record as records
from central import config as configs
from central.archive import MODE, bundle_files, folder_of, open_archive
from central.backup_record import BUNDLES, DATABASE, POOL, BackupDamaged, Record
from central.errors import RestoreRefused
from central.home import AlreadyMade, Home, complete, make_folders, now_us
from central.store.opening import address_of, is_on_server, open_store
from central.store.protocol import Store
from central.store.sqlite import SqliteStore
from central.tokens import take_token
from central.workings import Workings, new_epoch

PART = ".restoring-"
DUMP = b"PGDMP"  # how pg_dump's files begin


@dataclass(frozen=True, slots=True)
class Restored:
    """What was made. `learned`: bundles of the archive that the database did not know."""

    folder: Path
    backup: Path
    record: Record
    epoch: int
    bundles: int
    learned: int
    waiting: tuple[str, ...]
    missing_keys: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "dir": str(self.folder),
            "backup": str(self.backup),
            "made_us": self.record.made_us,
            "epoch": self.epoch,
            "bundles": self.bundles,
            "learned": self.learned,
            "waiting": list(self.waiting),
            "missing_keys": list(self.missing_keys),
        }


def restore(
    source: Path, home: Home, *, archives: Iterable[Path] = (), clock_us: Callable[[], int] = now_us
) -> Restored:
    """Make a central's folder out of a backup and begin a new epoch in it.

    Args:
        source: a folder with backups, of which the newest is taken, or one backup.
        home: a folder that is missing or empty.
        archives: archives that survived, or mirrors: what they, and the pool, have more is
            merged too, so that an old backup loses nothing that a later one made safe.
        clock_us: the time.

    Raises NoBackup, BackupDamaged, AlreadyMade, RestoreRefused.
    """
    folder = records.find(source.absolute())
    root = home.root.absolute()
    if root.exists() and any(root.iterdir()):
        raise AlreadyMade(where=str(root))
    record = records.read(folder)
    publish.make_folder(root.parent)
    for left in root.parent.glob(f"{PART}{root.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    part = Home(root.parent / f"{PART}{root.name}-{os.urandom(4).hex()}")
    part.root.mkdir(mode=publish.FOLDER_MODE)
    try:
        _bring(folder, record, part, archives)
        made = _begin(folder, record, part, clock_us)
        if root.exists():
            root.rmdir()
        publish.publish(part.root, root)
    except BaseException:
        shutil.rmtree(part.root, ignore_errors=True)
        raise
    return made


def take_over(home: Home, clock_us: Callable[[], int] = now_us) -> int:
    """Begin a new epoch in place: the operator says that this central is the one that counts.

    Returns the epoch's number. For a central that was set back by other ways than `restore`.
    """
    config = configs.load(home.config)
    store = open_store(config, home)
    try:
        _learn(home, config, store, clock_us)
        return epochs.begin(store, clock_us(), _lease_ms(config)).counter
    finally:
        store.close()


def _bring(folder: Path, record: Record, part: Home, archives: Iterable[Path]) -> None:
    """Copy all files into the new folder, synced and compared with what the backup says."""
    make_folders(part)
    for name in record.files:
        if name != BUNDLES:
            target = part.database if name == DATABASE else part.root / name
            publish.make_folder(target.parent)
            _copy(folder / name, target, MODE if target.suffix == ".pulk" else 0o600)
    touched = set()
    for one in records.bundles(folder):
        target = records.pool_path(part.archive, one.id)
        if target.parent not in touched:
            publish.make_folder(target.parent)
            touched.add(target.parent)
        source = records.pool_path(folder.parent / POOL, one.id)
        where = str(source.relative_to(folder.parent))
        records.check_file(folder.parent, where, one.size_bytes, one.sha256)
        _copy(source, target, MODE)
    # The pool may hold more than this backup lists: what a later one made safe, sites have deleted.
    others = (folder.parent / POOL, *archives)
    for source in (one for other in others for one in bundle_files(other)):
        target = records.pool_path(part.archive, BundleId(source.stem))
        if not target.exists():
            publish.make_folder(target.parent)
            touched.add(target.parent)
            _copy(source, target, MODE)
    for inner in touched:
        publish.fsync_folder(inner)
    publish.fsync_folder(part.root)


def _begin(folder: Path, record: Record, part: Home, clock_us: Callable[[], int]) -> Restored:
    config = configs.load(part.config)
    store = _open(part, config)
    try:
        archive = open_archive(part, config)
        for path in list(bundle_files(part.archive)):
            archive.put(path, BundleId(path.stem))  # to its mirrors, to S3, to another folder
        if folder_of(config) is not None:
            shutil.rmtree(part.archive)
            make_folders(part)
        there = set(archive.ids())
        if lacking := store.bundles.merged_ids() - there:
            name = f"bundle {min(lacking)}"
            raise BackupDamaged(where=str(folder), file=name, reason="is in no archive")
        learned = _learn(part, config, store, clock_us)
        lease_ms = max(record.lease_ms, _lease_ms(config))
        epoch = epochs.begin(store, clock_us(), lease_ms, [record.epoch])
        if not part.token.exists():
            complete(part)
            take_token(part, store)
        waiting = epochs.recovering(store)
    finally:
        store.close()
    keys = (part.central_key, part.registrar_key)
    return Restored(
        folder=part.root.with_name(part.root.name.removeprefix(PART).rsplit("-", 1)[0]),
        backup=folder,
        record=record,
        epoch=epoch.counter,
        bundles=len(there),
        learned=learned,
        waiting=tuple(sorted(waiting.waiting)) if waiting else (),
        missing_keys=tuple(one.name for one in keys if not one.exists()),
    )


def _open(part: Home, config: configs.Config) -> Store:
    """Open the copy of the database, brought into its server where it is a dump."""
    with part.database.open("rb") as file:
        if file.read(len(DUMP)) != DUMP:
            return SqliteStore(part.database)
    if not is_on_server(config):
        reason = "it is a dump of PostgreSQL, and central.toml names no database"
        raise RestoreRefused(where=str(part.database), reason=reason)
    address = address_of(config, part)
    from central.store.postgresql import dump

    dump.restore(address, part.database)
    part.database.unlink()
    return open_store(config, part)


def _learn(home: Home, config: configs.Config, store: Store, clock_us: Callable[[], int]) -> int:
    """Merge what the archive has and the database does not know; return how many bundles."""
    before = len(store.bundles.merged_ids())
    kept = open_archive(home, config)
    epoch = epochs.stored(store) or new_epoch(0)
    absorb.recover(Workings(home, config, store, kept, None, epoch, clock_us))
    return len(store.bundles.merged_ids()) - before


def _lease_ms(config: configs.Config) -> int:
    return int(config.planner.lease_hours * 3_600_000)


def _copy(source: Path, target: Path, mode: int) -> None:
    with source.open("rb") as read, publish.replacing(target) as written:
        shutil.copyfileobj(read, written, 1 << 20)
        os.fchmod(written.fileno(), mode)
