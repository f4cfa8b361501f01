"""Opening a bundle to look into it: verified with a trust file, as it is without one."""

from __future__ import annotations

import os
from pathlib import Path

from bundle.limits import BUNDLE_BYTES_MAX
from bundle.look.errors import NoTrustFile
from bundle.trust.trust_file import TrustView
from bundle.wire import manifest as manifests
from bundle.wire.admit import Admitted, read_signatures
from bundle.wire.errors import MalformedBundle
from bundle.wire.manifest import Kind
from bundle.wire.read import OpenBundle, open_bundle, open_plain, read_parts, read_places

EVERY_KIND = frozenset(Kind)


class UnvouchedBundle(OpenBundle):
    """A bundle that nobody vouches for, for looking only.

    Form and limits were checked, and chunks are checked against the manifest as they are read; who
    made the manifest was not.
    """


def open_unvouched(path: Path) -> UnvouchedBundle:
    """Open a bundle without asking who signed it. Raises BundleRefused."""
    where = str(path)
    descriptor, size = open_plain(path, BUNDLE_BYTES_MAX)
    try:
        head, parts = read_parts(descriptor, size, where, EVERY_KIND)
        manifest = manifests.decode(parts[0], where=where)
        if manifest.kind is not head.kind:
            reason = f"the header says {head.kind}, the manifest {manifest.kind}"
            raise MalformedBundle(where=where, part="header", reason=reason)
        places = read_places(descriptor, head, manifest, where)
        read_signatures(parts[1], where)
        return UnvouchedBundle(path, descriptor, Admitted(manifest, b"", None), parts, places)
    except BaseException:
        os.close(descriptor)
        raise


def open_to_look(path: Path, trust: TrustView | None) -> OpenBundle:
    """Open any bundle; verified where there is trust. Raises BundleRefused."""
    if trust is None:
        return open_unvouched(path)
    return open_bundle(path, trust, audience=None, kinds=EVERY_KIND)


def load_trust(path: Path) -> TrustView:
    """Read a trust file. Raises NoTrustFile where there is none, and TrustRefused."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise NoTrustFile(where=str(path), reason=error.strerror or str(error)) from error
    return TrustView.load(path)
