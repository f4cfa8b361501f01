"""Following the trust file, and acting on each version once.

Chains carry their own signatures, so those of all that waits in `in/` are followed before any of it
is believed: who brings a stolen key's bundle beside its revocation gains nothing by their order. A
version may also come by hand (`pulk keys take`) or before a crash: what was judged by an older one
is found by the version that `state/judged` names.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from bundle.spool.layout import Spool
from bundle.trust import trust_file, versions
from bundle.trust.errors import TrustRefused
from bundle.wire.errors import BundleRefused, RevokedKey, UnknownKey
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle, peek_trust
from relay import quarantine, state, works
from relay.home import Home
from relay.listing import names

_LOG = logging.getLogger(__name__)
JUDGED_BY_TRUST = frozenset({UnknownKey.code, RevokedKey.code})  # newer trust may admit these


def advance(home: Home, chain: bytes, where: str) -> bool:
    """Follow a trust chain, which carries its own signatures; return whether it led on.

    A chain that is refused is told in the next report and changes nothing.
    """
    before = home.trust().version
    try:
        return _take(home, chain, where)
    except TrustRefused as error:
        if home.trust().version > before:
            return True  # another process went further meanwhile
        _LOG.error("trust update refused", extra={"reason": error.text()})
        state.note_refusal(home.spool, Path(where).stem, error.code)
        return False


def follow_all(home: Home) -> None:
    """Follow the chains in all bundles of `in/`, in whatever order they lead on."""
    folder = home.spool.folder("in")
    paths = [folder / name for name in names(folder) if name.endswith(".pulk")]
    while any(_leads_on(home, path) for path in paths):
        pass


def heed(home: Home) -> bool:
    """Act on a trust version that was not acted on yet; return whether there is one.

    What its older ones refused goes back to `in/`; of works that a revoked key signed nothing more
    is offered. Safe to repeat after a crash anywhere.
    """
    version = home.trust().version
    known = state.read_map(_judged(home.spool))
    if known is not None and known.count("trust_version") == version:
        return False
    for refused in quarantine.every(home.spool):
        if refused.code in JUDGED_BY_TRUST:
            quarantine.release(refused, home.spool.folder("in") / refused.path.name)
    for work in works.live(home.spool):
        if _is_revoked(home, work):
            _give_up(home, work)
    begin(home.spool, version)
    return True


def begin(spool: Spool, version: int) -> None:
    """Note that all that lies here was judged by this trust version."""
    state.write_map(spool, _judged(spool), {"trust_version": version})


def _judged(spool: Spool) -> Path:
    return state.folder(spool) / "judged"


def _leads_on(home: Home, path: Path) -> bool:
    """Return whether a bundle's chain led on; one that can't be read or followed is passed over."""
    try:
        return _take(home, peek_trust(path), str(path))
    except (BundleRefused, TrustRefused, OSError):
        return False  # whoever opens the bundle says why


def _take(home: Home, chain: bytes, where: str) -> bool:
    if not chain:
        return False
    current = home.trust().trust
    if trust_file.advance(current, chain, where=where).version <= current.version:
        return False
    versions.take(home.spool.trust, trust_file.decode_chain(chain, where=where), where=where)
    return True


def _is_revoked(home: Home, work: works.Work) -> bool:
    path, kinds = home.spool.work_bundle(work.id), frozenset({Kind.WORK})
    try:
        open_bundle(path, home.trust(), audience=home.site, kinds=kinds).close()
    except RevokedKey as error:
        _LOG.error("work of a revoked key", extra={"reason": error.text()})
        return True
    except BundleRefused:
        return False
    return False


def _give_up(home: Home, work: works.Work) -> None:
    """Give up what nobody started of a work: first the mark, then the file."""
    mine = {plan.lease for plan in work.plans}
    lying = works.shards_in(home.spool.folder("claimable"))
    for shard in {*works.waiting(home.spool, work.id), *lying}:
        if shard.lease in mine:
            works.note_ended(home.spool, work.id, shard.lease, complete=False)
            for path in (
                works.waiting_file(home.spool, work.id, shard),
                home.spool.claimable(shard),
            ):
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()


__all__ = ["JUDGED_BY_TRUST", "advance", "begin", "follow_all", "heed"]
