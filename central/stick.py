"""The exchange over a directory: what HTTPS does with a site, done with files on a medium."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle.errors import PulkError
from bundle.ids import BundleId, SiteName
from bundle.spool import publish
from bundle.wire import header
from bundle.wire.errors import BundleRefused
from bundle.wire.manifest import Kind
from central.authority import Authority
from central.home import Home, upload_place

SUFFIX = ".pulk"
CENTRALS_OWN = frozenset({Kind.WORK, Kind.COMMIT})
PIECE_BYTES = 1 << 20


class MediumFailed(PulkError):
    """A directory or a file on a medium cannot be read or written. Check the medium."""

    code = "medium-failed"
    transient = True
    what = "the medium failed: {reason}"
    remedy = "check that it is there, whole and has space; what was taken until then counts"


@dataclass(frozen=True, slots=True)
class Came:
    """What became of one file: merged, parked, refused, or skipped (central's own bundle)."""

    file: str
    outcome: str
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Left:
    """A bundle that was laid into the directory for a site, or was there already."""

    site: SiteName
    bundle: BundleId
    size_bytes: int


def absorb_all(authority: Authority, home: Home, source: Path) -> list[Came]:
    """Take every bundle file below a directory; nothing there is changed. Raises MediumFailed.

    Links and hidden files are passed over; so is what is not named `*.pulk`.
    """
    if not source.is_dir():
        raise MediumFailed(where=str(source), reason="there is no such directory")
    return [_absorb(authority, home, path, source) for path in _bundle_files(source)]


def leave_outboxes(authority: Authority, sites: list[SiteName], target: Path) -> list[Left]:
    """Write every site's outbox into a directory as `<id>.pulk`. Raises MediumFailed."""
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediumFailed(where=str(target), reason=error.strerror or str(error)) from error
    left = []
    for site in sites:
        for bundle in authority.outbox(site):
            lay(authority.outgoing(site, bundle.id), target, bundle.id)
            left.append(Left(site, bundle.id, bundle.size_bytes))
    return left


def lay(bundle: Path, target: Path, name: BundleId) -> Path:
    """Copy a bundle into a directory, whole, synced and read back. Raises MediumFailed."""
    final = target / f"{name}{SUFFIX}"
    part = target / f".{name[:16]}.{os.urandom(4).hex()}.part"
    try:
        target.mkdir(parents=True, exist_ok=True)
        if final.is_file() and _sha256(final) == _sha256(bundle):
            return final
        try:
            _copy(bundle, part)
            if _sha256(part) != _sha256(bundle):
                raise MediumFailed(where=str(part), reason="it reads back other than written")
            part.replace(final)
        finally:
            part.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # some media cannot sync a folder
            publish.fsync_folder(target)
    except OSError as error:
        raise MediumFailed(where=str(final), reason=error.strerror or str(error)) from error
    return final


def _bundle_files(source: Path) -> Iterator[Path]:
    for path in sorted(source.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(source).parts)
        named = path.name.lower().endswith(SUFFIX)  # old filesystems write names in capitals
        if named and not hidden and not path.is_symlink() and path.is_file():
            yield path


def _absorb(authority: Authority, home: Home, path: Path, source: Path) -> Came:
    name = str(path.relative_to(source))
    copy = upload_place(home)
    try:
        if _kind(path) in CENTRALS_OWN:
            return Came(name, "skipped", "", "a bundle of central's own, meant for a site")
        _copy(path, copy)
        try:
            found = authority.absorb(copy)
        finally:
            copy.unlink(missing_ok=True)
    except OSError as error:
        raise MediumFailed(where=str(path), reason=error.strerror or str(error)) from error
    return Came(name, str(found.outcome), found.code, found.text)


def _kind(path: Path) -> Kind | None:
    """Return what the header claims, before anything is verified; None where it is no header."""
    with path.open("rb") as file:
        raw = file.read(header.HEADER_BYTES)
        size = os.fstat(file.fileno()).st_size
    try:
        return header.unpack(raw, size).kind
    except BundleRefused:
        return None


def _copy(source: Path, to: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with source.open("rb") as file, os.fdopen(os.open(to, flags, 0o600), "wb") as copy:
        shutil.copyfileobj(file, copy, PIECE_BYTES)
        copy.flush()
        os.fsync(copy.fileno())


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
