"""A backup on disk: one folder per backup beside one pool of bundles, which never change.

`TO/archive/` holds every bundle once, however many backups list it. `TO/<name>/` holds the
database and what else is not in the archive, `bundles` (id, size and SHA-256 of each bundle that
belongs to it, a line each) and `backup.json`, which names every other file with size and SHA-256.
The folder gets its name last, so a backup is there whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bundle.errors import PulkError
from bundle.ids import BundleId
from central.archive import SUFFIX

FORMAT = 1
RECORD, BUNDLES, POOL, DATABASE, PARKED = (
    "backup.json", "bundles", "archive", "pulk.sqlite", "parked",
)  # fmt: skip
NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
PART = ".part-"  # starts the names of backups that are not finished
_LINE = re.compile(r"([0-9a-f]{64}) ([0-9]{1,19}) ([0-9a-f]{64})")


class NoBackup(PulkError):
    """The folder holds no finished backup. Name the one that `pulk central backup` wrote to."""

    code = "no-backup"
    what = "there is no finished backup here"
    remedy = "name the folder that `pulk central backup` wrote to, or one of the backups in it"


class BackupDamaged(PulkError):
    """A file of the backup is missing or is not what the backup says it is. Use another backup.

    Nothing was restored. An older backup beside it loses nothing of what sites still hold.
    """

    code = "backup-damaged"
    what = "the backup is damaged: {file} {reason}"
    remedy = "restore another backup, or put a whole copy of that file back; nothing was changed"


@dataclass(frozen=True, slots=True)
class Record:
    """What a backup says of itself. `files`: size and SHA-256 by name. Times are UTC us."""

    format: int
    made_us: int
    epoch: int
    nonce: str
    commit: int
    lease_ms: int  # the longest lease that was given so far
    bundles: int
    bundle_bytes: int
    has_keys: bool
    files: dict[str, tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Listed:
    """One bundle of a backup: its size and the SHA-256 of its file."""

    id: BundleId
    size_bytes: int
    sha256: str


_RECORD: TypeAdapter[Record] = TypeAdapter(Record)


def pool_path(pool: Path, bundle: BundleId) -> Path:
    """Return where a bundle lies in a pool, as in an archive."""
    return pool / bundle[:2] / f"{bundle}{SUFFIX}"


def encode(record: Record) -> bytes:
    """Return the bytes of `backup.json`."""
    value: dict[str, Any] = asdict(record)
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def encode_bundles(listed: list[Listed]) -> bytes:
    """Return the bytes of `bundles`."""
    lines = [f"{one.id} {one.size_bytes} {one.sha256}\n" for one in listed]
    return "".join(lines).encode()


def finished(to: Path) -> list[Path]:
    """Return the finished backups in a folder, oldest first."""
    if not to.is_dir():
        return []
    return sorted(one for one in to.iterdir() if NAME.fullmatch(one.name) and one.is_dir())


def find(folder: Path) -> Path:
    """Return a backup: the folder itself, or the newest one in it. Raises NoBackup."""
    if (folder / RECORD).is_file():
        return folder
    found = finished(folder)
    if not found:
        raise NoBackup(where=str(folder))
    return found[-1]


def read(folder: Path) -> Record:
    """Read and check `backup.json` and what else the backup holds but its bundles.

    Raises NoBackup, BackupDamaged.
    """
    try:
        raw = (folder / RECORD).read_bytes()
    except OSError as error:
        raise NoBackup(where=str(folder)) from error
    try:
        record = _RECORD.validate_json(raw)
    except ValidationError as error:
        raise BackupDamaged(where=str(folder), file=RECORD, reason="is not readable") from error
    if record.format != FORMAT:
        reason = f"has format {record.format}, this version reads {FORMAT}"
        raise BackupDamaged(where=str(folder), file=RECORD, reason=reason)
    for name, (size, sha256) in record.files.items():
        check_file(folder, name, size, sha256)
    return record


def bundles(folder: Path) -> Iterator[Listed]:
    """Yield the bundles of a backup whose record was read. Raises BackupDamaged."""
    with (folder / BUNDLES).open() as lines:
        for line in lines:
            found = _LINE.fullmatch(line.rstrip("\n"))
            if found is None:
                raise BackupDamaged(where=str(folder), file=BUNDLES, reason="is not a list")
            yield Listed(BundleId(found[1]), int(found[2]), found[3])


def check_file(folder: Path, name: str, size_bytes: int, sha256: str) -> None:
    """Raise BackupDamaged unless a file is there and has these bytes."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise BackupDamaged(where=str(folder), file=name, reason="lies outside of it")
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except OSError as error:
        reason = error.strerror or str(error)
        raise BackupDamaged(where=str(folder), file=name, reason=f"({reason})") from error
    if (size, found) != (size_bytes, sha256):
        raise BackupDamaged(where=str(folder), file=name, reason="has other bytes than it had")
