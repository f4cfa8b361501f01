"""Central by an exchange folder: what goes out is laid there, what came is taken from there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from bundle.errors import PulkError
from bundle.ids import BundleId
from bundle.limits import BUNDLE_BYTES_MAX
from bundle.media.sight import is_sound, look
from bundle.spool import publish
from relay.carrier.contract import Answer, Outgoing, Passing
from relay.carrier.folder import CUSTODY, SUFFIX, TO_CENTRAL, TO_SITE, Entry, Folder, bundle_of
from relay.carrier.laid import Laid
from relay.errors import FarSideRefused

_LOG = logging.getLogger(__name__)


class ExchangeCarrier:
    """See `contract.Carrier`."""

    def __init__(
        self,
        folder: Folder,
        parts: Path,
        laid: Laid,
        *,
        is_done: Callable[[BundleId], bool],
        is_held: Callable[[BundleId], bool],
    ) -> None:
        """Exchange through a folder.

        Args:
            folder: where.
            parts: where transfers that broke off wait, on the filesystem of what is fetched.
            laid: which bundles this relay laid there.
            is_done: whether a bundle was accepted here, so that its copy in the folder may go.
            is_held: whether a bundle that was laid there is still in this site's custody.
        """
        self._folder, self._parts, self._laid = folder, parts, laid
        self._is_done, self._is_held = is_done, is_held

    def send(self, bundle: Outgoing) -> Answer | None:
        """Lay a copy there; see the contract."""
        name = f"{bundle.id}{SUFFIX}"
        self._laid.add(bundle.id)
        self._folder.put(bundle.path, TO_CENTRAL, name, fresh=bundle.again)
        return Answer.COPIED

    def fetch(self, is_known: Passing, into: Path) -> Iterator[Path]:
        """Take what is new there; see the contract. What is done with is removed."""
        done = []
        for entry in self._folder.entries(TO_SITE):
            bundle = bundle_of(entry)
            if bundle is None or not 0 < entry.size_bytes <= BUNDLE_BYTES_MAX:
                continue
            if self._is_done(bundle):
                done += [entry.name, f"{bundle}{CUSTODY}"]
            elif not is_known(bundle, entry.size_bytes):
                try:
                    path = self._take(bundle, entry, into)
                except FarSideRefused as error:  # one planted file must not keep others away
                    _LOG.warning("bundle not given", extra={"reason": error.text()})
                    continue
                yield path
        self._tidy(done)

    def _take(self, bundle: BundleId, entry: Entry, into: Path) -> Path:
        target = into / f"{bundle}{SUFFIX}"
        publish.publish(taken(self._folder, TO_SITE, entry, self._parts), target)
        return target

    def _tidy(self, done: list[str]) -> None:
        """Remove what was accepted here, and what central's receipts freed."""
        if done:
            self._folder.remove(TO_SITE, done)
        freed = sorted(one for one in self._laid.all() if not self._is_held(one))
        if freed:
            self._folder.remove(TO_CENTRAL, [f"{one}{SUFFIX}" for one in freed])
            self._laid.drop(freed)


def taken(folder: Folder, side: str, entry: Entry, parts: Path) -> Path:
    """Bring a file of an exchange folder here, going on where an earlier transfer ended.

    What was put together of two transfers is read; where it is damaged all of it comes again. The
    file may still be anything: whoever takes it judges it.
    """
    part = parts / f"take-{side}-{entry.name.removesuffix(SUFFIX)}-{entry.size_bytes}"
    is_on = part.exists()
    folder.get(side, entry, part)
    if is_on and not is_whole(part, bundle_of(entry)):
        _LOG.warning("what was put together is damaged; it comes anew", extra={"file": entry.name})
        part.unlink(missing_ok=True)
        folder.get(side, entry, part)
    return part


def is_whole(path: Path, bundle: BundleId | None) -> bool:
    """Return whether a file is this bundle, every chunk that it claims whole."""
    try:
        return look(path).facts.id == bundle and is_sound(path)
    except PulkError:
        return False
