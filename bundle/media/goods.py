"""The bundles that lie in a folder and are to be carried."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bundle.media.choose import Ware
from bundle.media.copy import failing, must_be_folder
from bundle.media.sight import look, looks_like_ours
from bundle.wire.errors import BundleRefused

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Good:
    """A bundle file to be carried. `signed`: SHA-256 of its manifest and signatures."""

    ware: Ware
    path: Path
    signed: bytes


def good_of(path: Path) -> Good:
    """Return a bundle file as a good; nothing of it is verified. Raises BundleRefused."""
    sight = look(path)
    return Good(sight.ware, path, sight.signed)


def goods_of(paths: Iterable[Path]) -> list[Good]:
    """Return bundle files as goods, but for those that are gone or whose heads are damaged."""
    found = []
    for path in paths:
        try:
            found.append(good_of(path))
        except BundleRefused as error:
            _LOG.error("a bundle cannot be carried", extra={"reason": error.text()})
    return found


def goods_in(folder: Path) -> list[Good]:
    """Return the bundles that lie directly in a folder, each id once. Raises MediumFailed.

    Files that are no bundles are passed over.
    """
    must_be_folder(folder)
    found: dict[str, Good] = {}
    with failing("listing", folder):
        paths = sorted(path for path in folder.iterdir() if path.is_file())
    for good in goods_of(path for path in paths if not path.is_symlink() and looks_like_ours(path)):
        known = found.get(good.ware.facts.id)
        if known is None or len(known.ware.sizes) < len(good.ware.sizes):
            found[good.ware.facts.id] = good
    return list(found.values())
