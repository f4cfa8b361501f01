"""`pulk central backup`: a copy of everything that central can't do without, while it serves.

Order: the database at one moment, what is parked, then the archive, which only grows: so the copy
of the archive holds all that the copy of the database knows, and more is merged by a restore.
Bundles are copied once; the next backup copies what came since.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bundle.errors import PulkError
from bundle.spool import publish
from bundle.trust import quickstart, versions
from central import backup_record as records
from central.archive import MODE, SUFFIX, Archive
from central.backup_record import BUNDLES, DATABASE, PARKED, PART, POOL, RECORD, Listed, Record
from central.blob.contract import BlobMissing
from central.home import Home

KEYS = (
    quickstart.CENTRAL_KEY, quickstart.CENTRAL_NEXT_KEY, quickstart.REGISTRAR_KEY, "admin.token",
)  # fmt: skip
PLAIN = (quickstart.TRUST_FILE, "central.toml")
PIECE_BYTES = 1 << 20
LOCK = ".lock"


class BackupRunning(PulkError):
    """Another backup writes into this folder. Wait until it has ended."""

    code = "backup-running"
    transient = True
    what = "another backup writes here"
    remedy = "try again when it has ended"


class BackupInside(PulkError):
    """The backup would lie inside central's own folder and be lost with it. Name another disk."""

    code = "backup-inside"
    what = "the backup's folder lies inside central's folder"
    remedy = "name a folder on another disk, or on another machine's"


class Backed(Protocol):
    """A central that is backed up: an authority in this process, or the server's."""

    def snapshot(self) -> dict[str, Any]:
        """See `Authority.snapshot`."""

    def cover(self, backup: Path) -> dict[str, Any]:
        """See `Authority.cover`."""


@dataclass(frozen=True, slots=True)
class Made:
    """A finished backup. `copied`: bundles that were not in the pool; `covered`: safe by it now.

    `apart`: whether it lies on another device than the archive; else it makes nothing safe.
    """

    folder: Path
    record: Record
    copied: int
    covered: int
    apart: bool
    removed: int


def backup(
    home: Home,
    archive: Archive,
    central: Backed,
    to: Path,
    *,
    with_keys: bool,
    keep: int,
    at: float,
) -> Made:
    """Write one more backup below `to`; an interrupted one leaves nothing that counts.

    Args:
        home: central's folder; a server may be at work in it.
        archive: its archive, which is only read.
        central: who can copy the database, and note what the backup covers.
        to: a folder for backups, made where it is missing; best on another disk.
        with_keys: whether central's private keys and the administrator's token are copied too.
        keep: how many backups to keep; 0 keeps all. Bundles stay in the pool.
        at: the time in seconds, for the name.

    Raises BackupInside, BackupRunning, BackupDamaged.
    """
    to = to.absolute()
    if to.resolve().is_relative_to(home.root.resolve()):
        raise BackupInside(where=str(to))
    publish.make_folder(to)
    with _locked(to):
        for left in to.glob(f"{PART}*"):
            shutil.rmtree(left, ignore_errors=True)
        part = to / f"{PART}{os.urandom(6).hex()}"
        part.mkdir(mode=publish.FOLDER_MODE)
        try:
            record, copied = _fill(home, archive, central, (to, part), with_keys=with_keys, at=at)
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
            folder = to / f"{_later(to, stamp)}-{os.urandom(4).hex()}"
            publish.publish(part, folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        covered = central.cover(folder)
        removed = _remove_old(to, keep)
    safe, apart = int(covered["covered"]), bool(covered["apart"])
    return Made(folder, record, copied, safe, apart, removed)


def _fill(
    home: Home,
    archive: Archive,
    central: Backed,
    places: tuple[Path, Path],
    *,
    with_keys: bool,
    at: float,
) -> tuple[Record, int]:
    to, part = places
    files: dict[str, tuple[int, str]] = {}
    taken = central.snapshot()
    try:
        files[DATABASE] = _copy(Path(str(taken["file"])), part / DATABASE)
    finally:
        Path(str(taken["file"])).unlink(missing_ok=True)
    for name in _beside(home, with_keys=with_keys):
        try:
            publish.make_folder((part / name).parent)
            files[name] = _copy(home.root / name, part / name)
        except FileNotFoundError:
            continue  # what was parked was merged meanwhile: then it is in the archive
    listed, copied = _fill_pool(archive, to)
    publish.write_file(part, part / BUNDLES, records.encode_bundles(listed))
    raw = (part / BUNDLES).read_bytes()
    files[BUNDLES] = (len(raw), hashlib.sha256(raw).hexdigest())
    record = Record(
        format=records.FORMAT,
        made_us=int(at * 1_000_000),
        epoch=int(taken["epoch"]),
        nonce=str(taken["nonce"]),
        commit=int(taken["commit"]),
        lease_ms=int(taken["lease_ms"]),
        bundles=len(listed),
        bundle_bytes=sum(one.size_bytes for one in listed),
        has_keys=with_keys,
        files=files,
    )
    publish.write_file(part, part / RECORD, records.encode(record))
    for folder in {(part / name).parent for name in files}:
        publish.fsync_folder(folder)
    return record, copied


def _beside(home: Home, *, with_keys: bool) -> Iterator[str]:
    """Yield the names of files to copy beside database and archive."""
    names = [*PLAIN, *(KEYS if with_keys else ())]
    yield from (name for name in names if (home.root / name).is_file())
    trusts = home.root / versions.FOLDER
    yield from (f"{versions.FOLDER}/{one.name}" for one in sorted(trusts.glob("[0-9]*")))
    yield from (f"{PARKED}/{one.name}" for one in sorted(home.parked.glob(f"*{SUFFIX}")))


def _fill_pool(archive: Archive, to: Path) -> tuple[list[Listed], int]:
    """Copy what the pool lacks; return all bundles there are, and how many were copied."""
    known = {one.id: one for folder in records.finished(to)[-1:] for one in _known(folder)}
    listed, folders, copied = [], set(), 0
    for bundle in archive.ids():
        one = known.get(bundle)
        target = records.pool_path(to / POOL, bundle)
        if one is None or not _has(target, one.size_bytes):
            publish.make_folder(target.parent)
            try:
                archive.copy(bundle, target)
            except BlobMissing:
                continue  # central took back what it had told nobody
            target.chmod(MODE)
            one = Listed(bundle, target.stat().st_size, _digest(target))
            folders.add(target.parent)
            copied += 1
        listed.append(one)
    for folder in folders:
        publish.fsync_folder(folder)
    return listed, copied


def _known(folder: Path) -> Iterator[Listed]:
    """Yield what the backup before lists; nothing of one that is damaged."""
    try:
        yield from list(records.bundles(folder))
    except (OSError, PulkError):
        return


def _has(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except OSError:
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: Path, target: Path) -> tuple[int, str]:
    """Copy a file, whole and synced or not at all; return its size and SHA-256."""
    running, size = hashlib.sha256(), 0
    with source.open("rb") as read, publish.replacing(target) as written:
        while piece := read.read(PIECE_BYTES):
            running.update(piece)
            size += len(piece)
            written.write(piece)
        os.fchmod(written.fileno(), MODE)
    return size, running.hexdigest()


def _later(to: Path, stamp: str) -> str:
    """Return a time that comes after all backups there, so that the newest has the last name."""
    found = records.finished(to)
    last = found[-1].name[: len(stamp)] if found else ""
    if stamp > last:
        return stamp
    seconds = int(last[9:15]) + 1  # of one second, or by a clock that was set back
    return f"{last[:9]}{seconds:06d}Z"


def _remove_old(to: Path, keep: int) -> int:
    old = records.finished(to)[:-keep] if keep else []
    for one in old:
        # First it stops being a backup, by one rename, then it goes.
        gone = to / f"{PART}{os.urandom(6).hex()}"
        publish.publish(one, gone)
        shutil.rmtree(gone, ignore_errors=True)
    return len(old)


@contextmanager
def _locked(to: Path) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(to / LOCK, flags, publish.FILE_MODE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupRunning(where=str(to)) from None
        yield
    finally:
        os.close(descriptor)
