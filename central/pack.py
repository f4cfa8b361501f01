"""Packing: a plan becomes leases and one signed work bundle; receipts ride in every bundle.

A work bundle is itself the commit that records its leases and pins: archived before the database
knows of it, and merged from the archive like any other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from bundle import canonical
from bundle.digest import chunk_digest
from bundle.ids import LEASE_ID_BYTES, BundleId, LeaseId, SiteName, StreamId
from bundle.intervals import IntervalSet
from bundle.limits import MIB, STATE_LIMITS
from bundle.records import lease as leases
from bundle.records import report as reports
from bundle.records.edit import Edit
from bundle.records.lease import Lease
from bundle.records.profile import Profile
from bundle.wire import files
from bundle.wire.entries import DATA, Rules
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from bundle.wire.write import ChunkSource
from central import calling_off, deltas, epochs, hearing, planning, requests, trust_chain
from central.arriving import join_work
from central.board import Board
from central.calling_off import CALLED_OFF, NOTHING_DUE, CallingOff, Due
from central.core.chain import Recovering
from central.cosignatures import Demand, cosignature_chunks
from central.found import Found, FoundLease
from central.hearing import Hearing
from central.home import upload_place
from central.joining import EXPIRED, Joining
from central.lately import Sent
from central.looking import maximum
from central.planning import Lost, Planned
from central.store.rows import FileRow, WorkRow
from central.visit import Visit, visit
from central.workings import Workings

REPLANS_MAX = 8  # after a reset of tasks whose outputs are nowhere
HELD_IN_MEMORY_BYTES_MAX = 1 * MIB
TRUST_VERSIONS_ALWAYS = 4
TRUST_CHAIN_BYTES_ALWAYS = 64 << 10


@dataclass(frozen=True, slots=True)
class OutBundle:
    """One of central's bundles for a site."""

    id: BundleId
    size_bytes: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Offer:
    """What could be packed for a site; while anything is `lost`, nothing.

    `off`: what is called off with it. `edited`: datasets whose newest document is news.
    """

    profile: Profile
    planned: list[Planned]
    lost: Lost
    is_news: bool
    off: Due = NOTHING_DUE
    edited: Sequence[int] = ()

    @property
    def is_something(self) -> bool:
        """Whether there is anything to say."""
        news = self.planned or self.off or self.edited
        return not self.lost and (bool(news) or self.is_news)


class Packer:
    """Packs for sites; used under the authority's lock."""

    def __init__(self, workings: Workings) -> None:
        """Pack from these workings."""
        self._w = workings
        self._nothing: dict[SiteName, tuple[int, int]] = {}  # nothing to plan: version, until when
        self._calling_off = CallingOff(workings)
        self._hearing = Hearing(workings)
        self.board = Board(workings)

    def outbox(self, site: SiteName) -> list[OutBundle]:
        """Return what a site is to fetch; packs first where it wants more or there are news."""
        if self._w.is_set_back:
            return []  # what it says would contradict what was said before
        self._expire()
        self._hear(site)
        epochs.await_site(self._w, self._w.store.bundles.site(site))
        self._pack(site, None)
        return self._waiting(site)

    def pack(self, site: SiteName, tasks: int) -> OutBundle | None:
        """Pack up to `tasks` tasks and all news; None where there is neither. Raises SetBack."""
        self._w.signing()  # may it say anything at all?
        self._expire()
        return self._pack(site, tasks)

    def _pack(self, site: SiteName, tasks: int | None) -> OutBundle | None:
        """Plan beside the other processes; under the lock again, if one of them was faster."""
        for _ in range(REPLANS_MAX):
            recovering = epochs.look(self._w)
            with self._w.looking() as seen:
                offer = self._offer(site, tasks, recovering)
            if not offer.lost:
                break
            self._reset(offer)
        if not offer.is_something:
            return None
        with self._w.transaction():
            if self._w.seen != seen:
                offer = self._offer_again(site, tasks)
            return self.write(site, offer) if offer.is_something else None

    def _offer_again(self, site: SiteName, tasks: int | None) -> Offer:
        """Plan in the transaction, where nobody else changes anything."""
        for _ in range(REPLANS_MAX):
            offer = self._offer(site, tasks, epochs.look(self._w))
            if not offer.lost:
                break
            self._reset(offer)
        return offer

    def _reset(self, offer: Offer) -> None:
        """Have tasks whose outputs are nowhere run again, so that others get their inputs."""
        for dataset, places in offer.lost:
            requests.reset(self._w, dataset, places)

    def _offer(self, site: SiteName, tasks: int | None, recovering: Recovering | None) -> Offer:
        """Return what could be packed by what is known now; changes nothing."""
        found = visit(self._w, self.board, site, tasks)
        row = self._w.store.bundles.site(site)
        is_news = row.news > row.told or self._is_unheard(site)
        planned, lost = self._plan(replace(found, recovering=recovering))
        datasets = self._w.store.datasets
        leased = datasets.controls_of([no for no, _ in datasets.leased_at(site)])
        is_settled = recovering is None
        off = self._calling_off.due(site, leased, is_settled=is_settled)
        edited = self._hearing.due(site, leased, is_settled=is_settled)
        return Offer(found.profile, planned, lost, is_news, off, edited)

    def _hear(self, site: SiteName) -> None:
        """Learn how long the site's bundles take, from what it received and what is still open."""
        bundles, live = self._w.store.bundles, self._w.store.datasets.live_of_site(site)
        received = _received(bundles.site(site).received)
        works = {work for _, work, _, _ in live}
        self.board.lately.heard(site, received, works, self._w.clock_us())

    def _is_unheard(self, site: SiteName) -> bool:
        """Return whether a restored central has not told a site yet that its epoch is a new one.

        The site may have enrolled, or fetched work, after the backup: then nothing here is news.
        """
        if self._w.epoch.counter == 1:
            return False
        return self._w.store.bundles.last_of_stream(self._w.stream_to(site)) is None

    def _expire(self) -> None:
        """End the leases whose deadline has passed."""
        now_us = self._w.clock_us()
        if not self._w.store.datasets.expired(now_us):
            return
        with self._w.transaction():
            joining = Joining(self._w, live=True)
            joining.end_leases(self._w.store.datasets.expired(now_us), EXPIRED)
            joining.finish(0)

    def _plan(self, found: Visit) -> tuple[list[Planned], Lost]:
        """Return what to lease, or what has to be made anew before."""
        site, now_us = found.site, self._w.clock_us()
        if found.tasks <= 0:
            return [], []
        version, until_us = self._nothing.get(site, (-1, 0))
        if version == self._w.version and (not until_us or now_us < until_us):
            return [], []
        planned, lost = planning.plan(self._w, found.tasks, board=self.board, visit=found)
        if not lost and not planned and found.recovering is None:
            self._nothing[site] = (self._w.version, self.board.waits_until(site))
        return planned, lost

    def _demand(self, site: SiteName) -> Demand:
        raw = self._w.store.bundles.site(site).report
        return Demand.of_report(reports.decode(raw) if raw else None)

    def write(self, site: SiteName, offer: Offer) -> OutBundle:
        """Lease, pack and sign what is offered, in a transaction."""
        w, planned, off = self._w, offer.planned, offer.off.leases
        stream = w.stream_to(site)
        with w.transaction(), ExitStack() as stack:
            found, chunks = _leases(w, planned)
            leased = [one.dataset.no for one in planned]
            told = hearing.edits_of(w, {*leased, *offer.edited, *self._hearing.unheard(site)})
            chunks += _documents(w, found, told.values())
            if planned:
                epochs.note_horizon(w.store, max(max(one.durations) for one in planned))
            said = [*self._calling_off.said(site), *off]
            parts = self._calling_off.said_of(site, offer.off)
            number = w.store.bundles.head(w.epoch) + 1
            draft = replace(
                w.draft(Kind.WORK, stream, number, site),
                receipts=tuple(w.store.bundles.receipts(site)),
                rules=Rules(maximum=maximum(offer.profile)),
                tombstones=tuple(w.store.datasets.tombstones()),
                called_off=tuple(sorted(row.id for row in said)),
                called_off_tasks=calling_off.rows_of(w, parts),
                edits=tuple(sorted(told.values(), key=lambda one: one.dataset)),
                trust=_trust_for(w, site),
                withdrawn=self._withdrawn(site, stream, {row.no for row in off}),
            )

            def join(bundle: BundleId, no: int) -> None:
                joining = Joining(w, live=True)
                listed = frozenset(
                    [one.digest for one in found.leases.values()] + list(found.documents)
                )
                work = WorkRow(bundle, site, draft.created_us, draft.lifetime_ms, listed)
                for lease, one in found.leases.items():
                    found.leases[lease] = replace(one, work=work)
                join_work(joining, draft.with_chunks(()), found)
                joining.end_leases([row.no for row in off], CALLED_OFF)
                calling_off.note(w, site, said)
                hearing.note(w, site, told, (stream, draft.sequence))
                calling_off.note_parts(w, site, parts)
                joining.finish(no)
                w.store.bundles.set_told(site)
                if found.leases:
                    sent = Sent(bundle, stream, draft.sequence, draft.created_us)
                    self.board.lately.packed(site, sent)
                self.board.lately.save(draft.created_us)

            rows = {file.digest: file for one in planned for file in one.files}
            data = _data(w, rows.values(), stack)
            signed = cosignature_chunks(w, found.documents, self._demand(site))
            head = epochs.head_chunk(w, draft)
            bundle = w.publish(draft, (*chunks, *signed, head, *data), len(found.leases), join)
        size_bytes = w.archive.path(bundle).stat().st_size
        return OutBundle(bundle, size_bytes, draft.sequence)

    def _withdrawn(self, site: SiteName, stream: StreamId, off: set[int]) -> IntervalSet:
        """Return the numbers so far that need not reach the site: no live lease waits for them.

        `off`: leases that are called off now.

        What else they said (receipts, trust, what nobody wants) every later bundle says again.
        """
        bundles = self._w.store.bundles
        last = bundles.last_of_stream(stream)
        if last is None:
            return IntervalSet()
        live = self._w.store.datasets.live_of_site(site)
        waiting = IntervalSet.of(n for no, _, of, n in live if of == stream and no not in off)
        received = _received(bundles.site(site).received).get(stream, IntervalSet())
        return IntervalSet(((0, last[0] + 1),)) - received - waiting

    def _waiting(self, site: SiteName) -> list[OutBundle]:
        """Return works with live leases, and the newest bundle, that did not arrive yet."""
        bundles = self._w.store.bundles
        received = _received(bundles.site(site).received)
        wanted: dict[BundleId, None] = {}
        for _, work, stream, sequence in self._w.store.datasets.live_of_site(site):
            if sequence not in received.get(stream, IntervalSet()):
                wanted[work] = None
        stream = self._w.stream_to(site)
        last = bundles.last_of_stream(stream)
        if last is not None and last[0] not in received.get(stream, IntervalSet()):
            wanted[last[1]] = None
        deltas.forget(self._w.home, site, frozenset(wanted))
        rows = [row for one in wanted if (row := bundles.bundle(one)) is not None]
        return [
            OutBundle(row.id, row.size_bytes, row.sequence)
            for row in sorted(rows, key=lambda row: (row.created_us, row.sequence))
        ]


def _trust_for(w: Workings, site: SiteName) -> bytes:
    """Return the trust versions that a site may lack: those after the one it reported, and some.

    The site may have gone back to an old copy of its folder since.
    """
    whole = trust_chain.chain_for(w.home, 0)
    if len(whole) <= TRUST_CHAIN_BYTES_ALWAYS:
        return whole
    raw = w.store.bundles.site(site).report
    reported = reports.decode(raw).trust_version if raw else 0
    since = min(reported, w.trust.version - TRUST_VERSIONS_ALWAYS)
    return trust_chain.chain_for(w.home, max(0, since))


def _leases(w: Workings, planned: list[Planned]) -> tuple[Found, list[ChunkSource]]:
    """Give every planned shard its lease; return them with their chunks and documents."""
    found = Found()
    chunks: list[ChunkSource] = []
    number = 0
    for one in planned:
        base = number
        document = w.store.datasets.document(one.dataset.digest)
        assert document is not None  # noqa: S101  it was planned from it
        if one.dataset.digest not in found.documents:
            found.documents[one.dataset.digest] = document
            chunks.append(ChunkSource("dataset", one.dataset.id, 1, document))
        told = zip(one.shards, one.durations, one.foreign, strict=True)
        for shard, duration_ms, foreign in told:
            lease = Lease(
                lease=LeaseId(os.urandom(LEASE_ID_BYTES)),
                dataset=one.dataset.id,
                dataset_digest=one.dataset.digest,
                shard=number,
                blocks=shard.blocks,
                spec_hashes=tuple(
                    (step, one.dag.spec_hash(step)) for step in sorted(shard.steps())
                ),
                needs=tuple(base + need for need in shard.needs),
                returns=shard.returns,
                pins=tuple(one.pins[place] for place in shard.outside),
                spent=tuple(
                    (job, step, one.spent[step, job])
                    for (step, job), _ in shard.places()
                    if (step, job) in one.spent
                ),
                duration_ms=duration_ms,
                tried=tuple(
                    (job, step, one.tried[step, job])
                    for (step, job), _ in shard.places()
                    if (step, job) in one.tried
                ),
                asks=tuple(
                    (step, one.asks[step]) for step in sorted(shard.steps() & set(one.asks))
                ),
                foreign=foreign,
            )
            raw = leases.encode(lease)
            digest = chunk_digest("lease", raw)
            unknown = WorkRow(BundleId(""), SiteName(""), 0, 0, frozenset())
            found.leases[lease.lease] = FoundLease(lease, raw, digest, unknown)
            chunks.append(ChunkSource("lease", lease.lease.hex(), lease.count(), raw))
            number += 1
    return found, chunks


def _documents(w: Workings, found: Found, told: Iterable[Edit]) -> list[ChunkSource]:
    """Return the documents that edits put in force and nothing is leased from; adds them."""
    chunks = []
    for edit in told:
        if edit.document not in found.documents:
            raw = w.store.datasets.document(edit.document)
            assert raw is not None  # noqa: S101  the commit of the edit brought it
            found.documents[edit.document] = raw
            chunks.append(ChunkSource("dataset", edit.dataset, 1, raw))
    return chunks


def _data(w: Workings, rows: Iterable[FileRow], stack: ExitStack) -> Iterator[ChunkSource]:
    """Yield files out of the archive as chunks; large ones pass through a file until the end."""
    by_bundle: dict[int, list[FileRow]] = {}
    for file in rows:
        by_bundle.setdefault(file.bundle, []).append(file)
    for no, wanted in sorted(by_bundle.items()):
        path = w.archive.path(w.store.bundles.bundle_id(no))
        kinds = frozenset({Kind.RESULT, Kind.DATA})
        with open_bundle(path, w.trust, audience=None, kinds=kinds) as bundle:
            for file in sorted(wanted, key=lambda one: one.place):
                if file.size_bytes <= HELD_IN_MEMORY_BYTES_MAX:
                    yield ChunkSource(DATA, file.digest.hex(), 0, bundle.chunk(file.place))
                    continue
                copy = upload_place(w.home)
                stack.callback(copy.unlink, missing_ok=True)
                found = files.file_at(bundle.manifest, file.place)
                assert found is not None  # noqa: S101  central noted where it begins
                files.copy_file(bundle, found, copy)
                yield from files.file_sources(file.digest, copy)


def _received(raw: bytes) -> dict[StreamId, IntervalSet]:
    if not raw:
        return {}
    rows = canonical.decode(raw, STATE_LIMITS, where="received")
    return {StreamId(stream): IntervalSet.from_wire(runs) for stream, runs in rows}
