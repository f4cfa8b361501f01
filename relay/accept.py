"""Accepting work bundles: all of one or nothing of it, once, whatever is repeated or lost.

Order: verify everything, data under its digests, the folder `work/<id>` by one rename, documents
that were edited, receipts and what central says of itself, `seen`; last the file in `in/` goes.
Each stage is synced and may be repeated: after a crash the next tick starts again with the file in
`in/`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle.errors import PulkError
from bundle.ids import BundleId, DatasetId, LeaseId
from bundle.intervals import IntervalSet
from bundle.records import lease as leases
from bundle.records.lease import Lease
from bundle.spool import publish
from bundle.spool.layout import ShardName
from bundle.wire.errors import AbsentChunk, UnknownKey
from bundle.wire.files import copy_file, files_of
from bundle.wire.manifest import Kind, Manifest
from bundle.wire.read import OpenBundle, open_bundle, peek_trust
from relay import (
    calling_off,
    chains,
    cosign,
    custody,
    delta,
    edits,
    heads,
    quarantine,
    resync,
    room,
    state,
    trusting,
    works,
)
from relay.chains import CentralForked
from relay.core.shards import ShardPlan
from relay.errors import NoSpace
from relay.home import Home, now_us
from relay.listing import names
from relay.works import Work

_LOG = logging.getLogger(__name__)
INODES_SPARE = 16
DATA_MODE = 0o444


class WorkRefused(PulkError):
    """A signed work bundle contradicts itself. Central must make it again."""

    code = "work-refused"
    what = "the work bundle can't be run: {reason}"
    remedy = "tell central's operator; nothing of it was used"


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a pass over `in/` brought: bundles taken, shards new here, bundles refused."""

    bundles: int = 0
    shards: int = 0
    refused: int = 0

    def __add__(self, other: Accepted) -> Accepted:
        return Accepted(
            self.bundles + other.bundles,
            self.shards + other.shards,
            self.refused + other.refused,
        )


def accept_all(home: Home) -> Accepted:
    """Take every bundle in `in/`; what is refused goes to quarantine with its reason."""
    trusting.follow_all(home)  # what is revoked is known before anything is believed
    trusting.heed(home)
    total = _pass(home)
    if trusting.heed(home):
        total += _pass(home)
    return total


def is_known(home: Home, bundle: BundleId) -> bool:
    """Return whether a bundle need not be fetched: it was dealt with, waits, or keeps failing.

    One that keeps failing is tried again after a while: what failed may have been planted.
    """
    if state.is_seen(home.spool, bundle) or (home.spool.folder("in") / f"{bundle}.pulk").exists():
        return True
    return quarantine.keeps_failing(home.spool, f"{bundle}.pulk")


def has_room(home: Home, bundle: BundleId, size_bytes: int, tally: room.Tally) -> bool:
    """Return whether a bundle may be fetched; where not, the next report says so.

    Nothing is known of it but its size: it needs that for the file, and more is looked at when it
    is opened.
    """
    try:
        tally.check(size_bytes, INODES_SPARE, where=bundle)
    except NoSpace as error:
        _LOG.warning("no space to fetch a bundle", extra={"reason": error.text()})
        state.note_refusal(home.spool, bundle, error.code)
        return False
    return True


def _pass(home: Home) -> Accepted:
    total = Accepted()
    files = [name for name in names(home.spool.folder("in")) if name.endswith(".pulk")]
    known: set[LeaseId] = set()
    tally = room.Tally(home)
    if files:
        known.update(plan.lease for work in works.live(home.spool) for plan in work.plans)
    for name in files:
        total += _accept_file(home, home.spool.folder("in") / name, known, tally)
    return total


def _accept_file(home: Home, path: Path, known: set[LeaseId], tally: room.Tally) -> Accepted:
    try:
        shards = _accept(home, path, known, tally)
    except NoSpace as error:
        _LOG.warning("no space for a bundle", extra={"reason": error.text()})
        state.note_refusal(home.spool, path.stem, error.code)
        return Accepted(refused=1)
    except CentralForked as error:
        _LOG.error("central contradicts itself", extra={"reason": error.text()})
        state.note_refusal(home.spool, path.stem, error.code)
        return Accepted(refused=1)  # it waits where it is until a person decides
    except PulkError as error:
        if error.transient:
            raise  # not the bundle's fault: the next tick takes it
        if not path.exists() and not path.is_symlink():
            return Accepted()  # another tick took it
        _LOG.error("bundle refused", extra={"reason": error.text()})
        quarantine.put(home.spool, path, error)
        state.note_refusal(home.spool, path.stem, error.code)
        return Accepted(refused=1)
    publish.remove(path)
    return Accepted(bundles=1, shards=shards)


def _accept(home: Home, path: Path, known: set[LeaseId], tally: room.Tally) -> int:
    """Take one bundle and return how many shards are new; their leases are added to `known`."""
    with open_work(home, path) as bundle, _asking_for_whole(home, bundle):
        delta.check(home, bundle)  # before anything changes: a bundle is whole or refused
        promised = _leases(bundle)
        told = edits.check(home, bundle, cosign.check(home, bundle, promised))
        chains.check(home.spool, bundle.manifest, bundle.id)  # of what would be taken, no other
        shards = 0
        if not state.is_seen(home.spool, bundle.id) and not home.spool.work(bundle.id).exists():
            fresh = _fresh(home, bundle, promised, known)
            if fresh:
                _check_space(bundle, len(fresh), tally)
                _bring_data(home, bundle)
                shards = _make_work(home, path, bundle, fresh)
                known.update(lease.lease for lease in fresh)
        edits.take(home, bundle, told)
        delta.keep_documents(home, bundle)
        state.note_seen(home.spool, bundle.id)  # before its number: else the number seems another's
        _hear(home, bundle)
    return shards


@contextlib.contextmanager
def _asking_for_whole(home: Home, bundle: OpenBundle) -> Iterator[None]:
    try:
        yield
    except AbsentChunk:
        delta.want_whole(home, bundle.id)
        raise


def open_work(home: Home, path: Path) -> OpenBundle:
    """Open a work bundle for this site; a trust chain inside may make its signer known."""
    kinds = frozenset({Kind.WORK})
    try:
        return open_bundle(path, home.trust(), audience=home.site, kinds=kinds)
    except UnknownKey:
        if not trusting.advance(home, peek_trust(path), str(path)):
            raise
        return open_bundle(path, home.trust(), audience=home.site, kinds=kinds)


def _leases(bundle: OpenBundle) -> list[Lease]:
    """Return the leases, checked for what would leave a shard waiting for ever."""
    found = [leases.decode(bundle.chunk(place)) for place in bundle.find("lease")]
    documents = {bundle.manifest.chunks[place].digest for place in bundle.find("dataset")}
    numbers = {lease.shard for lease in found}
    reason = ""
    if len({lease.lease for lease in found}) < len(found) or len(numbers) < len(found):
        reason = "a lease or a shard is in it twice"
    elif any(not numbers.issuperset(lease.needs) for lease in found):
        reason = "a shard needs one that is not in it"
    elif any(lease.dataset_digest not in documents for lease in found):
        reason = "a dataset document is missing"
    if reason:
        raise WorkRefused(where=str(bundle.path), reason=reason)
    return found


def _fresh(
    home: Home, bundle: OpenBundle, promised: list[Lease], live: set[LeaseId]
) -> list[Lease]:
    """Return the leases to run: known nowhere here, ended nowhere, of no deleted dataset."""
    known = live | state.ended_leases(home.spool, (lease.lease for lease in promised))
    deleted: set[DatasetId] = set(state.read_central(home.spool).tombstones)
    deleted.update(bundle.manifest.tombstones)
    fresh = [one for one in promised if one.lease not in known and one.dataset not in deleted]
    left = {lease.shard for lease in promised} - {lease.shard for lease in fresh}
    # A need that another bundle already answered can't be waited for here.
    return [one for one in fresh if left.isdisjoint(one.needs)]


def _check_space(bundle: OpenBundle, shards: int, tally: room.Tally) -> None:
    """Raise NoSpace unless the bytes and inodes that the configuration keeps stay free."""
    data = [one for one in files_of(bundle.manifest).values() if bundle.present(one.places[0])]
    need = sum(one.size_bytes for one in data)
    tally.check(need, len(data) + 2 * shards + INODES_SPARE, where=str(bundle.path))


def _bring_data(home: Home, bundle: OpenBundle) -> None:
    """Copy files under their digests, verified while they are copied, read-only."""
    for file in files_of(bundle.manifest).values():
        target = home.spool.data(file.digest)
        if delta.is_whole(target, file.digest, file.size_bytes):
            continue
        part = home.tmp / f"data-{os.getpid()}-{os.urandom(6).hex()}"
        copy_file(bundle, file, part)
        part.chmod(DATA_MODE)
        publish.make_folder(target.parent)
        publish.publish(part, target)


def _make_work(home: Home, path: Path, bundle: OpenBundle, fresh: list[Lease]) -> int:
    """Make `work/<id>` with all shards waiting, and give it its name by one rename."""
    accepted_us = now_us()
    plans = tuple(_plan(lease, accepted_us, bundle.manifest.lifetime_ms) for lease in fresh)
    data = tuple(files_of(bundle.manifest))
    work = Work(bundle.id, accepted_us, plans, data)
    made = home.tmp / f"work-{os.getpid()}-{os.urandom(6).hex()}"
    for folder in (made, made / "waiting", made / "ended", made / "sealed"):
        folder.mkdir(mode=publish.FOLDER_MODE)
    if bundle.absent():
        delta.write_complete(home, bundle, made / "bundle.pulk")
    else:
        os.link(path, made / "bundle.pulk", follow_symlinks=False)
    for plan in plans:
        raw = works.shard_bytes(bundle.id, plan, turn=1)
        name = f"{ShardName(LeaseId(plan.lease), 1)}.shard"
        os.replace(publish.stage(home.tmp, raw), made / "waiting" / name)
    publish.fsync_folder(made / "waiting")
    publish.write_file(home.tmp, made / works.ACCEPTED, works.encode(work))
    try:
        publish.publish(made, home.spool.work(bundle.id))
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return 0  # another tick accepted it first
    return len(plans)


def _plan(lease: Lease, accepted_us: int, lifetime_ms: int) -> ShardPlan:
    limits_ms = [limit for limit in (lease.duration_ms, lifetime_ms) if limit]
    start_before_us = accepted_us + min(limits_ms) * 1000 if limits_ms else 0
    return ShardPlan(
        lease=lease.lease,
        shard=lease.shard,
        dataset=lease.dataset,
        needs=lease.needs,
        tasks=lease.count(),
        start_before_us=start_before_us,
    )


def _hear(home: Home, bundle: OpenBundle) -> None:
    """Take what rides along: trust, receipts, rules, what nobody wants any more, the number."""
    manifest = bundle.manifest
    trusting.advance(home, manifest.trust, str(bundle.path))
    resync.note(home.spool, manifest)
    heads.hear(home, bundle)
    custody.apply_receipts(home.spool, manifest)
    state.hear_central(home.spool, manifest, _heard_us(home, manifest))
    state.note_received(home.spool, manifest.stream, manifest.sequence)
    state.note_withdrawn(home.spool, manifest.stream, manifest.withdrawn)
    calling_off.hear(home.spool, manifest)


def _heard_us(home: Home, manifest: Manifest) -> int:
    """Return when central was last heard; a number that came before is no news."""
    came = state.read_received(home.spool).get(manifest.stream, IntervalSet())
    is_news = manifest.sequence not in came
    return now_us() if is_news else state.read_central(home.spool).at_us
