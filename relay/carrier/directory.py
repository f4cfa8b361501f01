"""A directory, a stick: the same bundle files, copied with care.

Each copy is written under another name, synced, read back and compared, then renamed. What is
found there may be partial, foreign, twice: it is copied, and `relay.accept` judges it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from bundle.digest import file_digest
from bundle.errors import PulkError
from bundle.ids import BundleId
from bundle.limits import BUNDLE_BYTES_MAX
from bundle.spool import publish
from bundle.wire import header
from bundle.wire.errors import BundleRefused
from bundle.wire.manifest import SITES_OWN
from relay.carrier.contract import Answer, Outgoing

_ID = re.compile(r"(?:[0-9]+-)?([0-9a-f]{64})")


class MediumFailed(PulkError):
    """A directory or stick could not be read or written. What is on it may be partial."""

    code = "medium-failed"
    what = "{action} failed: {reason}"
    remedy = "check space and mount; nothing is given up: run it again with this or another medium"


class DirectoryCarrier:
    """See `contract.Carrier`."""

    def __init__(self, to: Path | None, source: Path | None) -> None:
        """Copy what goes out to one folder, take what comes in from another."""
        self._to, self._source = to, source

    def send(self, bundle: Outgoing) -> Answer | None:
        """Copy one bundle to the medium and read it back; the folder must be there.

        A folder made here could lie beside an unmounted stick. Raises MediumFailed.
        """
        if self._to is None:
            return None
        target = self._to / f"{bundle.id}.pulk"
        part = self._to / f"{bundle.id}.part"
        try:
            digest = file_digest(bundle.path)
            if not target.exists() or file_digest(target) != digest:
                _copy(bundle.path, part)
                if file_digest(part) != digest:
                    reason = "what was read back differs from what was written"
                    raise MediumFailed(where=str(target), action="copying", reason=reason)
                publish.publish(part, target)
        except OSError as error:
            reason = error.strerror or str(error)
            raise MediumFailed(where=str(target), action="copying", reason=reason) from error
        return Answer.COPIED

    def fetch(self, is_known: Callable[[BundleId], bool], into: Path) -> Iterator[Path]:
        """Copy every `.pulk` file that is not known by its name. Raises MediumFailed."""
        if self._source is None:
            return
        try:
            names = sorted(entry.name for entry in self._source.iterdir())
        except OSError as error:
            reason = error.strerror or str(error)
            raise MediumFailed(where=str(self._source), action="listing", reason=reason) from error
        for name in names:
            source = self._source / name
            if not name.lower().endswith(".pulk") or source.is_symlink() or not source.is_file():
                continue
            if (found := _ID.match(name.lower())) and is_known(BundleId(found[1])):
                continue
            if not _is_for_a_site(source):
                continue
            yield _take(source, into, found[1] if found else f"unnamed-{os.urandom(6).hex()}")


def _is_for_a_site(source: Path) -> bool:
    """Pass over what sites send; what is no bundle is taken, and refused with a reason."""
    try:
        with source.open("rb") as file:
            found = header.unpack(file.read(header.HEADER_BYTES), source.stat().st_size)
    except (OSError, BundleRefused):
        return True
    return found.kind not in SITES_OWN


def _take(source: Path, into: Path, stem: str) -> Path:
    part, target = into / f"fetch-{os.getpid()}-{os.urandom(6).hex()}", into / f"{stem}.pulk"
    try:
        if source.stat().st_size > BUNDLE_BYTES_MAX:
            raise MediumFailed(where=str(source), action="copying", reason="larger than a bundle")
        _copy(source, part)
        publish.publish(part, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise MediumFailed(where=str(source), action="copying", reason=reason) from error
    finally:
        part.unlink(missing_ok=True)
    return target


def _copy(source: Path, target: Path) -> None:
    """Copy bytes only and sync them; a leftover of an earlier try is replaced."""
    target.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with source.open("rb") as read, os.fdopen(os.open(target, flags, 0o600), "wb") as written:
        shutil.copyfileobj(read, written, 1 << 20)
        written.flush()
        os.fsync(written.fileno())
