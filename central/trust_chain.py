"""Every trust version that central ever had: what work bundles carry, and how a rebuild gets them.

They lie in `trusts/` beside the trust file (see bundle.trust.versions) and travel in the signed
manifests of work bundles, so the archive has them too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bundle.limits import BUNDLE_BYTES_MAX
from bundle.spool import publish
from bundle.trust import trust_file, versions
from bundle.trust.errors import ForkedTrust, TrustRefused
from bundle.trust.quickstart import save_trust
from bundle.trust.trust_file import Trust
from bundle.wire import manifest as manifests
from bundle.wire.errors import BundleRefused
from bundle.wire.manifest import Kind
from bundle.wire.read import open_plain, read_parts
from central import absorb
from central.home import Home
from central.workings import Workings

TOLD = "trust.told"


def chain_for(home: Home, since_version: int) -> bytes:
    """Return the encoded chain of the trust versions after `since_version` up to the one in force.

    With 0 it is all of them; where an old version was lost, all that follow without a gap.
    """
    return trust_file.encode_chain(versions.chain(home.trust, since_version))


def heed(workings: Workings) -> int:
    """Act once on a trust version taken since: try parked bundles again, have every site told.

    Returns the version that is in force.
    """
    version, people = workings.trust.version, workings.store.people
    told = people.meta(TOLD)
    if told is None or int(told) < version:
        absorb.retry_all(workings)
        with workings.transaction():
            for site in workings.store.bundles.sites():
                workings.store.bundles.add_news(site.name)
            people.set_meta(TOLD, str(version).encode())
    return version


def restore(home: Home, files: Iterable[Path], given: Trust) -> Trust:
    """Put the newest trust version in force that an archive leads to, and keep all it knows.

    The chains in work bundles carry their own signatures: each version must follow `given`, or
    lead to it, by the rules of the trust file. Nothing else of the bundles is believed here.

    Args:
        home: a fresh folder.
        files: the bundles of the archive.
        given: the trust file that was kept apart; it decides which roots are believed. A newer
            one in the folder stays.

    Raises ForkedTrust where the folder has another file of the same version.
    """
    if home.trust.exists():
        here = trust_file.load(home.trust)
        if here.version == given.version and not here.says_same(given):
            raise ForkedTrust(where=str(home.trust), version=given.version)
        given = max(here, given, key=lambda one: one.version)
    found = _versions(files)
    chain = [given]
    while after := _following(chain[-1], found.get(chain[-1].version + 1, ())):
        chain.append(after)
    while before := _preceding(chain[0], found.get(chain[0].version - 1, ())):
        chain.insert(0, before)
    publish.make_folder(home.root)
    for one in chain:
        versions.keep(home.trust, one)
    save_trust(home.trust, chain[-1].raw)
    return chain[-1]


def _versions(files: Iterable[Path]) -> dict[int, list[bytes]]:
    """Return what the work bundles carry as trust files, by version, nothing verified."""
    seen: set[bytes] = set()
    found: dict[int, list[bytes]] = {}
    for path in files:
        try:
            chain = _chain_in(path)
            if chain in seen or not chain:
                continue
            seen.add(chain)
            for raw in trust_file.decode_chain(chain):
                if raw not in seen:
                    seen.add(raw)
                    found.setdefault(trust_file.read(raw).version, []).append(raw)
        except (BundleRefused, TrustRefused):
            continue
    return found


def _chain_in(path: Path) -> bytes:
    """Return a work bundle's trust chain, nothing verified. Raises BundleRefused, also for others.

    Of other kinds the header alone is read.
    """
    descriptor, size = open_plain(path, BUNDLE_BYTES_MAX)
    try:
        _, parts = read_parts(descriptor, size, str(path), frozenset({Kind.WORK}))
        return manifests.decode(parts[0], where=str(path)).trust
    finally:
        os.close(descriptor)


def _following(trust: Trust, files: Iterable[bytes]) -> Trust | None:
    for raw in files:
        try:
            return trust_file.verify_next(trust, raw)
        except TrustRefused:
            continue
    return None


def _preceding(trust: Trust, files: Iterable[bytes]) -> Trust | None:
    for raw in files:
        try:
            before = trust_file.verify(raw)
            trust_file.verify_next(before, trust.raw)
        except TrustRefused:
            continue
        return before
    return None
