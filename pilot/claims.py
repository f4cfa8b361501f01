"""Claiming shards by rename, and reading what a claimed shard needs: lease, dataset, what was.

Where the dataset was edited since, its steps ask for what the document in force says.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bundle.dataset import settings, spec
from bundle.dataset.spec import Dataset
from bundle.errors import PulkError
from bundle.ids import BundleId, LeaseId, PilotRun
from bundle.limits import SEAL_LIMITS, SMALL_LIMITS
from bundle.records import lease as leases
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.records.attempt import Attempt
from bundle.records.edit import FIRST, Place
from bundle.records.host import Host
from bundle.records.lease import Lease
from bundle.records.rules import UNKNOWN, Maximum
from bundle.records.segment import SegmentHeader
from bundle.spool import edits, publish, shard
from bundle.spool.bounded import read_bounded
from bundle.spool.layout import SealName, ShardName, Spool
from bundle.spool.shard import ShardFile
from bundle.trust.trust_file import TrustView
from bundle.wire.manifest import Kind
from bundle.wire.read import OpenBundle, open_bundle
from pilot.core.lineage import Earlier, settle
from pilot.newest import Newest

OPEN_BUNDLES_MAX = 4
LISTED_KEPT = 64  # names of a listing that are tried later, before the next listing
MISSES_MAX = 16  # of them, in a row

log = logging.getLogger("pulk.pilot")


class ShardUnusable(PulkError):
    """A claimed shard cannot be run: its work bundle lacks or contradicts what the shard says.

    The shard stays with the pilot's folder; compare the work bundle with `pulk bundle verify`.
    """

    code = "shard-unusable"
    what = "the shard cannot be run: {reason}"
    remedy = "check the work bundle with `pulk bundle verify`"


@dataclass(frozen=True, slots=True)
class Promised:
    """What the shard's own work bundle says: the lease, its document, and that one's place."""

    lease: Lease
    dataset: Dataset
    place: Place = FIRST


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claimed shard with everything that is needed to run it.

    `dataset` and `lease` are as promised, but for the steps in `edited`: they ask for what a newer
    `document` says (its digest).
    """

    file: ShardFile
    lease: Lease
    dataset: Dataset
    earlier: Earlier
    maximum: Maximum  # what a task that is tried again may grow to at this site
    promised: Promised
    edited: frozenset[int] = frozenset()
    document: bytes = b""

    def document_of(self, step: int) -> bytes:
        """Return the document that a step runs by, where it is not the lease's; else nothing."""
        return self.document if step in self.edited else b""

    def differing(self, other: Claimed) -> frozenset[int]:
        """Return the leased steps that ask for something else in another one."""
        asks, others = dict(self.lease.asks), dict(other.lease.asks)
        return frozenset(
            step
            for step, _ in self.lease.spec_hashes
            if self.dataset.steps[step] != other.dataset.steps[step]
            or asks.get(step) != others.get(step)
        )

    def header(self, pilot_run: PilotRun, host: Host) -> SegmentHeader:
        """Return the header of what a pilot records of this shard."""
        lease, file = self.lease, self.file
        return SegmentHeader(
            pilot_run=pilot_run,
            lease=lease.lease,
            dataset=lease.dataset,
            dataset_digest=lease.dataset_digest,
            work=file.bundle,
            shard=file.shard,
            turn=file.turn,
            host=host,
        )


class Claims:
    """What this pilot may claim and has opened. Bundles and datasets are kept while in use."""

    def __init__(self, spool: Spool, pilot_run: PilotRun) -> None:
        """Read nothing yet; the trust file is read with each work bundle."""
        self._spool = spool
        self._pilot_run = pilot_run
        self._bundles: OrderedDict[BundleId, OpenBundle] = OrderedDict()
        self._datasets: OrderedDict[bytes, Dataset] = OrderedDict()
        self.newest = Newest(spool)
        self._given_back: set[LeaseId] = set()
        self._listed: list[ShardName] = []  # the next to be tried is the last

    def give_back(self, lease: LeaseId) -> None:
        """Leave a shard to other pilots from now on: what is left of it cannot run here."""
        self._given_back.add(lease)

    def claim(self, now_us: int, salt: bytes) -> ShardFile | None:
        """Claim one shard that may still be started; None where there is none.

        `salt` decides who tries which shard first, so that pilots do not all race for one.
        """
        for _ in range(min(MISSES_MAX, len(self._listed))):
            if (file := self.take(self._listed.pop(), now_us)) is not None:
                return file
        names = sorted(self._offered(), key=lambda one: _mixed(one, salt), reverse=True)
        self._listed = []
        while names:
            if (file := self.take(names.pop(), now_us)) is not None:
                self._listed = names[-LISTED_KEPT:]
                return file
        return None

    def take(self, name: ShardName, now_us: int) -> ShardFile | None:
        """Claim this shard; None where it is another's by now, or may not be started here."""
        if name.lease in self._given_back:
            return None
        here = self._spool.claimable(name)
        try:
            offered = shard.decode(read_bounded(here, SMALL_LIMITS), where=str(here))
        except FileNotFoundError:
            return None
        except PulkError as error:
            log.warning("unreadable shard file", extra={"reason": error.text()})
            return None
        if 0 < offered.start_before_us <= now_us:
            return None
        held = self._spool.held_shard(self._pilot_run, name)
        if not publish.claim(here, held):
            return None
        publish.fsync_folder(held.parent)
        return offered

    def open(self, file: ShardFile) -> Claimed:
        """Read a claimed shard's lease, dataset and earlier seals. Raises PulkError."""
        bundle = self._bundle(file.bundle)
        lease = self._lease(bundle, file.shard, file.lease)
        dataset = self._dataset(bundle, lease)
        found = self._seals(file.bundle)
        own = self._attempts(file.bundle, found.get(lease.lease, ()))
        needed = []
        for number in lease.needs:
            other = self._lease(bundle, number, None)
            if other.dataset == lease.dataset:
                names = found.get(other.lease, ())
                attempts = [one for _, one in self._attempts(file.bundle, names)]
                needed.append((other, attempts))
        earlier = settle(dataset, lease, own, needed)
        rules = bundle.manifest.rules
        maximum = rules.maximum if rules else UNKNOWN
        told = edits.edit_of(bundle, lease.dataset)
        place = told.place if told and told.document == lease.dataset_digest else FIRST
        promised = Promised(lease, dataset, place)
        return self.in_force(Claimed(file, lease, dataset, earlier, maximum, promised))

    def in_force(self, claimed: Claimed) -> Claimed:
        """Return a claimed shard as the newest document of its dataset has it.

        That is used of steps whose spec hash is the lease's, if it is newer than what was leased
        from. What is learned of a step's needs does not count once its request was edited.
        """
        promised = claimed.promised
        newest = self.newest.of(promised.lease.dataset)
        if newest is None or newest.edit.place <= promised.place:
            return claimed
        lease, before = promised.lease, promised.dataset
        dataset, steps = settings.taken(before, newest.dataset, lease.spec_hashes, newest.spec_hash)
        asks = tuple(
            (step, ask)
            for step, ask in lease.asks
            if dataset.steps[step].request == before.steps[step].request
        )
        lease = replace(lease, asks=asks) if asks != lease.asks else lease
        return replace(
            claimed, lease=lease, dataset=dataset, edited=steps, document=newest.edit.document
        )

    def close(self) -> None:
        """Close every bundle."""
        for bundle in self._bundles.values():
            bundle.close()
        self._bundles.clear()

    def _offered(self) -> list[ShardName]:
        paths = self._spool.folder("claimable").glob("*.shard")
        parsed = (ShardName.parse(path.stem) for path in paths)
        return [name for name in parsed if name is not None]

    def _bundle(self, bundle_id: BundleId) -> OpenBundle:
        known = self._bundles.get(bundle_id)
        if known is not None:
            self._bundles.move_to_end(bundle_id)
            return known
        path = self._spool.work_bundle(bundle_id)
        trust = TrustView.load(self._spool.trust)
        bundle = open_bundle(path, trust, audience=None, kinds=frozenset({Kind.WORK}))
        if bundle.id != bundle_id:
            bundle.close()
            raise ShardUnusable(where=str(path), reason=f"the file is bundle {bundle.id}")
        self._bundles[bundle_id] = bundle
        if len(self._bundles) > OPEN_BUNDLES_MAX:
            self._bundles.popitem(last=False)[1].close()
        return bundle

    def _lease(self, bundle: OpenBundle, number: int, wanted: LeaseId | None) -> Lease:
        """Return a shard's lease; it lies at its number among the leases, as a rule."""
        places = bundle.find("lease")
        likely = places[number : number + 1]
        for place in [*likely, *(one for one in places if one not in likely)]:
            lease = leases.decode(bundle.chunk(place))
            if lease.shard == number and wanted in (None, lease.lease):
                return lease
        raise ShardUnusable(where=str(bundle.path), reason=f"there is no lease of shard {number}")

    def _dataset(self, bundle: OpenBundle, lease: Lease) -> Dataset:
        known = self._datasets.get(lease.dataset_digest)
        if known is not None:
            self._datasets.move_to_end(lease.dataset_digest)
            return known
        for place in bundle.find("dataset"):
            if bundle.manifest.chunks[place].digest == lease.dataset_digest:
                dataset = spec.decode(bundle.chunk(place))
                self._datasets[lease.dataset_digest] = dataset
                if len(self._datasets) > OPEN_BUNDLES_MAX:
                    self._datasets.popitem(last=False)
                return dataset
        raise ShardUnusable(where=str(bundle.path), reason="the lease's dataset is not in it")

    def _seals(self, bundle: BundleId) -> dict[LeaseId, set[SealName]]:
        """Return the names of every seal there is, by lease."""
        found: dict[LeaseId, set[SealName]] = {}
        for folder in (self._spool.folder("sealed"), self._spool.kept_seals(bundle)):
            names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
            for name in filter(None, map(SealName.parse, names)):
                found.setdefault(name.shard.lease, set()).add(name)
        return found

    def _attempts(
        self, bundle: BundleId, names: Iterable[SealName]
    ) -> list[tuple[PilotRun, Attempt]]:
        """Return the attempts of seals in order of turn; an unreadable seal is passed over."""
        attempts: list[tuple[PilotRun, Attempt]] = []
        for name in sorted(names, key=lambda one: (one.shard.turn, one.pilot_run)):
            # The relay moves a seal from the first place to the second.
            for path in (self._spool.seal(name), self._spool.kept_seals(bundle) / str(name)):
                try:
                    seal = seals.decode(read_bounded(path, SEAL_LIMITS), where=str(path))
                    segment = segments.decode(seal.segment)
                except FileNotFoundError:
                    continue
                except PulkError as error:
                    log.warning("unreadable seal", extra={"reason": error.text()})
                    continue
                if segment.header.lease == name.shard.lease:
                    attempts += [(segment.header.pilot_run, one) for one in segment.attempts]
                break
        return attempts


def _mixed(name: ShardName, salt: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(name.lease, salt, strict=False))
