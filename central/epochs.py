"""Epochs of this central: the first, one more after every restore, and what is beyond its own.

After a restore central recovers: it merges everything, but leases nothing that the forgotten
central may have leased, until each site said what it holds, was presumed lost, or the longest
lease has passed. See docs/operate-central.md.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from bundle import canonical, shape
from bundle.ids import Epoch, SiteName
from bundle.limits import STATE_LIMITS
from bundle.records import head as heads
from bundle.records import report as reports
from bundle.records.head import Head, HeadRefused, Named
from bundle.wire.manifest import ManifestDraft
from bundle.wire.write import ChunkSource
from central.core.chain import Recovering, is_beyond, next_counter
from central.store.protocol import Store
from central.store.rows import SiteRow
from central.workings import BEYOND, Workings, new_epoch
from central.workings import EPOCH_COUNTER as COUNTER
from central.workings import EPOCH_NONCE as NONCE

RECOVERING = "recovering"
HORIZON = "lease.horizon_ms"  # the longest lease given
_LOG = logging.getLogger(__name__)


def stored(store: Store) -> Epoch | None:
    """Return the epoch of this database; None where it was never opened."""
    nonce, counter = store.people.meta(NONCE), store.people.meta(COUNTER)
    return None if nonce is None or counter is None else Epoch(int(counter), nonce)


def current(store: Store) -> Epoch:
    """Return the epoch of this database, made with its first opening."""
    epoch = stored(store)
    if epoch is None:
        with store.transaction():
            epoch = stored(store)  # another process may have been faster
            if epoch is None:
                epoch = new_epoch(store.bundles.epoch_max() + 1)
                _save(store, epoch)
    return epoch


def begin(store: Store, now_us: int, lease_ms: int, counters: Iterable[int] = ()) -> Epoch:
    """Begin a new epoch and recover, as after every restore; one transaction.

    Args:
        store: of a central that nobody else uses.
        now_us: the time.
        lease_ms: the longest lease by the configuration; what was ever given counts too.
        counters: numbers of epochs that are known from elsewhere.
    """
    old, beyond = stored(store), beyond_own(store)
    known = [store.bundles.epoch_max(), *counters, *([old.counter] if old else [])]
    known += [beyond.epoch.counter] if beyond else []
    epoch = new_epoch(next_counter(max(known), now_us))
    horizon_ms = max(lease_ms, int(store.people.meta(HORIZON) or b"0"))
    with store.transaction():
        _save(store, epoch)
        sites = store.bundles.sites()
        waiting = frozenset(one.name for one in sites)
        _save_recovering(store, Recovering(now_us, now_us + 1000 * horizon_ms, waiting))
        store.people.set_meta(BEYOND, b"")
        for site in sites:
            store.bundles.add_news(site.name)
    _LOG.warning("new epoch", extra={"epoch": epoch.counter, "sites": len(sites)})
    return epoch


def note_horizon(store: Store, lease_ms: int) -> None:
    """Keep how long the longest lease is; inside a transaction."""
    if lease_ms > int(store.people.meta(HORIZON) or b"0"):
        store.people.set_meta(HORIZON, str(lease_ms).encode())


def recovering(store: Store) -> Recovering | None:
    """Return what central still waits for after a restore; None where it never was restored."""
    raw = store.people.meta(RECOVERING)
    if not raw:
        return None
    value = shape.Reader.of(canonical.decode(raw, STATE_LIMITS, where=RECOVERING), RECOVERING)
    waiting = frozenset(SiteName(name) for name in value.texts("waiting"))
    return Recovering(value.count("begun_us"), value.count("until_us"), waiting)


def look(workings: Workings) -> Recovering | None:
    """Return what is still waited for, after looking at what the sites reported since.

    None once it is over, which is noted.
    """
    known = recovering(workings.store)
    if known is None or _now(workings, known) == known:
        return known
    with workings.transaction():
        known = recovering(workings.store)  # another process may have looked meanwhile
        found = _now(workings, known) if known else None
        if found is not None:
            _save_recovering(workings.store, found)
        elif known is not None:
            workings.store.people.set_meta(RECOVERING, b"")
            _LOG.warning("recovered", extra={"epoch": workings.epoch.counter})
        workings.version += 1
    return found


def _now(workings: Workings, known: Recovering) -> Recovering | None:
    """Return what is left of what is waited for; None once it is over."""
    site = workings.store.bundles.site
    waiting = frozenset(name for name in known.waiting if not _is_resynced(workings, site(name)))
    found = Recovering(known.begun_us, known.until_us, waiting)
    return None if found.is_over(workings.clock_us()) else found


def await_site(workings: Workings, site: SiteRow) -> None:
    """Wait for a site too that the backup did not know, where it holds what central does not."""
    known = recovering(workings.store)
    if known is None or site.name in known.waiting or not site.report:
        return
    if not _is_resynced(workings, site) and _is_behind(workings, site):
        with workings.transaction():
            known = recovering(workings.store)
            if known is not None:
                waiting = known.waiting | {site.name}
                found = Recovering(known.begun_us, known.until_us, waiting)
                _save_recovering(workings.store, found)


def presume_lost(store: Store, site: SiteName) -> None:
    """Wait no more for a site; inside a transaction."""
    known = recovering(store)
    if known is not None and site in known.waiting:
        left = Recovering(known.begun_us, known.until_us, known.waiting - {site})
        _save_recovering(store, left)


def heed(workings: Workings, site: SiteName, raw: bytes) -> None:
    """Look at the head that a site brought back; inside a transaction.

    Where it is beyond this central's own, central was set back, or is one of two: it stops saying
    anything (`Workings.publish` refuses) until `pulk central take-over`.
    """
    store, epoch = workings.store, workings.epoch
    if not raw or store.people.meta(BEYOND):
        return
    head = _read(workings, raw)
    if head is None:
        return
    if is_beyond(head, epoch, store.bundles.head(epoch), named(store, epoch, head.commit)):
        store.people.set_meta(BEYOND, raw)
        about = {"site": site, "epoch": head.epoch.counter, "commit": head.commit}
        _LOG.error("a site has a head beyond this central's own: take-over is needed", extra=about)


def beyond_own(store: Store) -> Head | None:
    """Return the head, beyond this central's own, that a site brought; verified when it came."""
    raw = store.people.meta(BEYOND)
    return heads.decode(raw) if raw else None


def told(workings: Workings) -> dict[str, Any]:
    """Return as plain values whether central recovers, and whether it was set back."""
    known = recovering(workings.store)
    return {
        "set_back": workings.is_set_back,
        "recovering": None
        if known is None
        else {"until_us": known.until_us, "waiting": sorted(known.waiting)},
    }


def named(store: Store, epoch: Epoch, commit: int) -> Named | None:
    """Return what a commit of an epoch was, as its head names it; None where there is none."""
    latest = store.bundles.commits_to(epoch, commit)
    if not latest or latest[0].commit != commit:
        return None
    return Named(latest[0].created_us, latest[1].id if len(latest) > 1 else None)


def head_chunk(workings: Workings, draft: ManifestDraft) -> ChunkSource:
    """Return the signed head that rides in a work bundle; before that is in the store."""
    before = workings.store.bundles.commits_to(workings.epoch, draft.commit)
    name = Named(draft.created_us, before[0].id if before else None)
    raw = heads.make(Head(workings.epoch, draft.commit, name), workings.signing())
    return ChunkSource(heads.CHUNK, heads.CHUNK, 1, raw)


def _is_resynced(workings: Workings, site: SiteRow) -> bool:
    """Return whether a site has heard this epoch, and central knows all work that it holds."""
    if not site.report:
        return False
    report = reports.decode(site.report)
    head = _read(workings, report.head) if report.head else None
    if head is None or head.epoch != workings.epoch:
        return False
    work = workings.store.datasets.work
    return all(work(one.bundle) is not None for one in report.held)


def _is_behind(workings: Workings, site: SiteRow) -> bool:
    """Return whether a site's newest report shows that an earlier epoch gave it work."""
    report = reports.decode(site.report)
    head = _read(workings, report.head) if report.head else None
    return bool(report.held) or (head is not None and head.epoch != workings.epoch)


def _read(workings: Workings, raw: bytes) -> Head | None:
    try:
        return heads.read(raw, workings.trust.central_keys())
    except HeadRefused as error:
        _LOG.warning("head passed over", extra={"reason": error.text()})
        return None


def _save(store: Store, epoch: Epoch) -> None:
    store.people.set_meta(NONCE, epoch.nonce)
    store.people.set_meta(COUNTER, str(epoch.counter).encode())


def _save_recovering(store: Store, found: Recovering) -> None:
    value = {
        "begun_us": found.begun_us,
        "until_us": found.until_us,
        "waiting": sorted(found.waiting),
    }
    store.people.set_meta(RECOVERING, canonical.encode(value))
