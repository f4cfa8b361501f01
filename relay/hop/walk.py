"""One round of a hop: take at both ends, give at both ends. After a kill anywhere, walk again.

An end that can't be reached stops the other one's part in nothing. A hop takes a bundle away where
it found it once it is whole on its own disk, and lets it go once it lies whole at the next place;
its producer keeps it all the while.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bundle.errors import PulkError
from bundle.ids import BundleId
from bundle.limits import BUNDLE_BYTES_MAX
from bundle.media.errors import MediumFailed
from bundle.media.sight import check_signature
from relay.carrier.contract import Outgoing
from relay.carrier.exchange import is_whole, taken
from relay.carrier.folder import CUSTODY, TO_CENTRAL, TO_SITE, Entry, Folder, bundle_of
from relay.carrier.http import HttpCarrier
from relay.errors import CarryFailed, FarSideRefused
from relay.hop.given import Given
from relay.hop.hold import SIDECAR_BYTES_MAX, Hold
from relay.hop.refused import Refusals

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hop:
    """A hop that can walk. `central`: an exchange folder, or central itself."""

    hold: Hold
    site: Folder
    central: Folder | HttpCarrier
    central_where: str
    free_bytes_min: int
    again_s: float


@dataclass(slots=True)
class Walked:
    """What one round did: bundles each way, files refused, and trouble by end, in words."""

    took: dict[str, int] = field(default_factory=lambda: {TO_CENTRAL: 0, TO_SITE: 0})
    gave: dict[str, int] = field(default_factory=lambda: {TO_CENTRAL: 0, TO_SITE: 0})
    refused: int = 0
    trouble: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def walk(hop: Hop, *, to_central: bool = True) -> Walked:
    """Walk once, to central's end too unless it is to be left alone.

    Raises OSError where the hop's own disk fails.
    """
    hop.hold.make()
    walked = Walked()
    with _telling(walked, "site"):
        _take(hop, walked, hop.site, TO_CENTRAL)
    if to_central:
        with _telling(walked, "central"):
            _give_to_central(hop, walked)
            _take_from_central(hop, walked)
    with _telling(walked, "site"):
        _give(hop, walked, hop.site, TO_SITE)
    return walked


@contextmanager
def _telling(walked: Walked, end: str) -> Iterator[None]:
    try:
        yield
    except (CarryFailed, MediumFailed) as error:
        walked.trouble[end] = error.text()


def _take(hop: Hop, walked: Walked, folder: Folder, side: str) -> None:
    """Take what lies in an exchange folder and goes one way."""
    entries = folder.entries(side)
    sidecars = {one.name: one for one in entries if one.size_bytes <= SIDECAR_BYTES_MAX}
    refusals = Refusals(hop.hold.root / "state" / f"refused-{side}", hop.hold.tmp)
    for entry in entries:
        bundle = bundle_of(entry)
        if bundle is None or not 0 < entry.size_bytes <= BUNDLE_BYTES_MAX:
            continue
        if not hop.hold.path(side, bundle).exists():
            if refusals.knows(entry) or not _has_room(hop, entry.size_bytes):
                continue
            file = _brought(hop, folder, side, entry)
            if file is None:
                walked.refused += 1
                refusals.note(entry)
                continue
            earlier = _sidecar(hop, folder, side, sidecars.get(f"{bundle}{CUSTODY}"))
            hop.hold.took(side, file, bundle, folder.where, earlier)
            walked.took[side] += 1
        folder.remove(side, [entry.name, f"{bundle}{CUSTODY}"])


def _brought(hop: Hop, folder: Folder, side: str, entry: Entry) -> Path | None:
    """Bring a file here; None where it is not the whole bundle that it is named for."""
    bundle = bundle_of(entry)
    try:
        file = taken(folder, side, entry, hop.hold.tmp)
    except FarSideRefused as error:
        _LOG.warning("not carried", extra={"reason": error.text()})
        return None
    if bundle is not None and _is_sound(file, bundle):
        return file
    file.unlink(missing_ok=True)
    return None


def _give(hop: Hop, walked: Walked, folder: Folder, side: str) -> None:
    """Lay into an exchange folder what goes one way, its custody record first."""
    for path in hop.hold.bundles(side):
        bundle = BundleId(path.stem)
        record = hop.hold.sidecar(side, bundle)
        if record.exists():
            folder.put(record, side, record.name, fresh=True)
        folder.put(path, side, path.name)
        hop.hold.gave(side, bundle, folder.where, "copied")
        walked.gave[side] += 1


def _give_to_central(hop: Hop, walked: Walked) -> None:
    if not isinstance(hop.central, HttpCarrier):
        _give(hop, walked, hop.central, TO_CENTRAL)
        return
    for path in hop.hold.bundles(TO_CENTRAL):
        bundle = BundleId(path.stem)
        answer = hop.central.send(Outgoing(bundle, path, again=False))
        if answer is not None:  # else it stays, and is brought again
            hop.hold.gave(TO_CENTRAL, bundle, hop.central_where, answer.value)
            walked.gave[TO_CENTRAL] += 1


def _take_from_central(hop: Hop, walked: Walked) -> None:
    if not isinstance(hop.central, HttpCarrier):
        _take(hop, walked, hop.central, TO_SITE)
        return
    given = Given(hop.hold.root / "state" / "given", hop.hold.tmp, hop.again_s)
    for path in hop.central.fetch(_passing(hop, given), hop.hold.tmp):
        bundle = BundleId(path.stem)
        if _is_sound(path, bundle):
            hop.hold.took(TO_SITE, path, bundle, hop.central_where, b"")
            given.note(bundle)
            walked.took[TO_SITE] += 1
        else:
            walked.refused += 1
            path.unlink(missing_ok=True)
    given.save()


def _passing(hop: Hop, given: Given) -> Callable[..., bool]:
    def passes(bundle: BundleId, size_bytes: int = 0) -> bool:
        is_here = hop.hold.path(TO_SITE, bundle).exists()
        return given.is_fresh(bundle) or is_here or not _has_room(hop, size_bytes)

    return passes


def _is_sound(file: Path, bundle: BundleId) -> bool:
    """Return whether a file is this bundle, whole and signed by somebody; who may is not ours."""
    try:
        check_signature(file)
    except PulkError as error:
        _LOG.warning("not carried", extra={"reason": error.text()})
        return False
    return is_whole(file, bundle)


def _has_room(hop: Hop, size_bytes: int) -> bool:
    disk = os.statvfs(hop.hold.root)
    return disk.f_bavail * disk.f_frsize - size_bytes >= hop.free_bytes_min


def _sidecar(hop: Hop, folder: Folder, side: str, entry: Entry | None) -> bytes:
    """Return what earlier hops wrote of a bundle; nothing rests on it: trouble is passed over."""
    if entry is None:
        return b""
    file = hop.hold.tmp / f"custody-{os.getpid()}"
    try:
        file.unlink(missing_ok=True)
        with suppress(PulkError, OSError):
            folder.get(side, entry, file)
            return file.read_bytes()
        return b""
    finally:
        file.unlink(missing_ok=True)
