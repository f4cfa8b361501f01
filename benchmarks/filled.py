"""A central whose database holds many tasks, most of them done, and a site that answers.

The database is filled through the store, in the form that merges leave: bytes by block, counters,
segments with their spans. What is measured afterwards (leases, bundles, merges) is real.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.clock import OtherCpu, Spent, spending
from benchmarks.scripted_site import HOST
from bundle.dataset import spec
from bundle.dataset.spec import COUNTED_FAILURES_MAX, Command, Dataset, Output, Step
from bundle.digest import digest
from bundle.fates import Fate
from bundle.ids import BundleId, LeaseId, PilotRun, SiteName, StreamId
from bundle.intervals import IntervalSet
from bundle.records import lease as leases
from bundle.records import segment as segments
from bundle.records.attempt import Attempt, Usage
from bundle.records.lease import Block, Lease
from bundle.records.profile import Profile
from bundle.records.seal import SEAL_PAYLOAD_TYPE
from bundle.records.segment import Segment, SegmentHeader, segment_digest
from bundle.trust import enrolment
from bundle.trust.keys import MemoryKey
from bundle.wire.entries import SegmentEntry
from bundle.wire.manifest import Kind, ManifestDraft
from bundle.wire.preauth import pae
from bundle.wire.read import open_bundle
from bundle.wire.write import ChunkSource, write_bundle
from central import home as homes
from central.authority import Authority
from central.config import Config, PlannerSection, StoreSection
from central.core import state_byte
from central.core.changes import UsageSum
from central.core.shards import Shard
from central.core.state_byte import BLOCK_BITS, BLOCK_JOBS
from central.home import Home
from central.pack import Offer
from central.planning import Planned
from central.state.blocks import packed_block
from central.store.rows import BlockRow, DatasetRow, SegmentRow, Span, StepRow

SITE = "bench"
RUN_JOBS = 1024  # of every such run of filled jobs the last READY_JOBS are ready
READY_JOBS = 64
PLANNED_RUNS = 128  # the first ones are left to the planner
FRESH_JOBS = 2_000_000  # that nothing happened to, behind the filled ones
SEGMENT_ATTEMPTS = 10_000
BLOCKS_AT_ONCE = 256
LEASE_MS = 172_800_000


@dataclass(frozen=True, slots=True)
class Work:
    """A work bundle that waits for its answer, and what leasing, packing and signing it took."""

    path: Path
    leases: tuple[Lease, ...]
    spent: Spent


class Filled:
    """See the module."""

    def __init__(
        self,
        folder: Path,
        tasks: int,
        url: str = "",
        other_cpu: OtherCpu = lambda: 0.0,
        *,
        failed: int = 0,
    ) -> None:
        """Make a central below a folder, with `tasks` touched tasks, on SQLite or at a URL.

        Args:
            folder: where central's own folder goes.
            tasks: a multiple of 65,536.
            url: of a PostgreSQL database; SQLite where it is empty.
            other_cpu: what the database's server used, to be added to what is measured.
            failed: how many tasks of every RUN_JOBS have failed.
        """
        self.other_cpu = other_cpu
        self.home = Home(folder / "central")
        made = homes.create(self.home)
        self.root_fingerprint = made.root_fingerprint
        planner = PlannerSection(shard_tasks_max=10_000, bundle_tasks_max=100_000)
        self.config = Config(planner=planner, store=StoreSection(url=url))
        self.authority = Authority.open(self.home, self.config, clock_us=_now_us)
        self.workings = self.authority._w
        self.tasks, self._folder = tasks, folder
        self._key, self._pilot = MemoryKey.generate(), MemoryKey.generate()
        request = enrolment.make_request(SITE, self._key, created_us=_now_us())
        words = enrolment.check_request(request).fingerprint
        answer = self.authority.enrol(request, words)
        accepted = enrolment.accept_answer(answer, made.root_fingerprint, self._key.public)
        self._certificate = accepted.certificate
        self._stream, self._sequence, self._previous = StreamId(os.urandom(16)), 0, b""
        document = Dataset(
            "filled",
            tasks + FRESH_JOBS,
            1,
            (Step("run", Command(("/bin/true",)), outputs=(Output("x"),)),),
        )
        submitted = self.authority.submit(spec.encode(document), idempotency_key="k", token_id=1)
        self._dataset = submitted.id
        self._fill(failed)
        self._fresh = tasks  # the first job that nothing happened to
        self._runs = list(range(PLANNED_RUNS, tasks // RUN_JOBS))
        random.Random(1).shuffle(self._runs)

    @property
    def row(self) -> DatasetRow:
        """The dataset's row."""
        return self.workings.dataset(self._dataset)

    def close(self) -> None:
        """Close the database."""
        self.authority.close()

    def lease_fresh(self, tasks: int, shard: int) -> Work:
        """Lease jobs that nothing happened to, one after the other."""
        first, self._fresh = self._fresh, self._fresh + tasks
        return self._lease(
            IntervalSet(((at, min(at + shard, first + tasks)),))
            for at in range(first, first + tasks, shard)
        )

    def lease_scattered(self, places: int, each: int) -> Work:
        """Lease ready jobs at places all over the dataset; one of each place is done already."""
        runs, self._runs = self._runs[:places], self._runs[places:]
        assert len(runs) == places, "too few ready places left"
        lows = [(run + 1) * RUN_JOBS - READY_JOBS for run in sorted(runs)]
        return self._lease(IntervalSet(((low - 1, low + each),)) for low in lows)

    def answer(self, work: Work, *, ugly: bool = False) -> tuple[Path, int]:
        """Return the result bundle for a work bundle, and how many results it has.

        Ugly: three results of a hundred are failures, and every other done task is done once more.
        """
        chunks = [ChunkSource("work-manifest", self._id(work), 1, self._envelope(work))]
        entries: list[SegmentEntry] = []
        count = 0
        with open_bundle(
            work.path, self.workings.trust, audience=None, kinds=frozenset({Kind.WORK})
        ) as bundle:
            for kind in ("dataset", "lease"):
                for place in bundle.find(kind):
                    entry = bundle.manifest.chunks[place]
                    raw = bundle.chunk(place)
                    chunks.append(ChunkSource(kind, entry.name, entry.records, raw))
        for number, lease in enumerate(work.leases):
            attempts = tuple(_attempts(lease, ugly=ugly, twice=bool(number % 2)))
            count += len(attempts)
            listed, chunk = self._segment(lease, BundleId(self._id(work)), attempts)
            entries.append(listed)
            chunks.append(chunk)
        draft = ManifestDraft(
            kind=Kind.RESULT,
            producer=SITE,
            stream=self._stream,
            sequence=self._sequence,
            created_us=_now_us(),
            previous=self._previous,
            audience="central",
            certificate=self._certificate,
            segments=tuple(entries),
        )
        path = self._folder / f"{self._sequence}.result"
        self._previous = bytes.fromhex(write_bundle(path, draft, chunks, self._key))
        self._sequence += 1
        return path, count

    def _lease(self, several: Iterable[IntervalSet]) -> Work:
        row = self.row
        dag = self.workings.dag(row.digest)
        shards = [Shard((Block(0, jobs, (0,)),), returns=(0,)) for jobs in several]
        planned = [Planned(row, dag, shards, durations=[LEASE_MS] * len(shards))]
        planned[0].foreign = [() for _ in shards]
        offer = Offer(Profile(), planned, lost=[], is_news=False)
        with spending(self.other_cpu) as spent:
            out = self.authority._packer.write(SiteName(SITE), offer)
        return self._work(out.id, spent)

    def planned(self, tasks: int) -> Work:
        """Have the planner choose tasks, and lease, pack and sign them.

        To be used before any failure is merged: what filled tasks failed of is in no archive.
        """
        with spending(self.other_cpu) as spent:
            out = self.authority.pack(SiteName(SITE), tasks)
        assert out is not None, "nothing to plan"
        return self._work(out.id, spent)

    def _work(self, id_: BundleId, spent: Spent) -> Work:
        path = self.workings.archive.path(id_)
        with open_bundle(
            path, self.workings.trust, audience=None, kinds=frozenset({Kind.WORK})
        ) as opened:
            found = tuple(leases.decode(opened.chunk(place)) for place in opened.find("lease"))
        return Work(path, found, spent)

    def _id(self, work: Work) -> str:
        return work.path.stem

    def _envelope(self, work: Work) -> bytes:
        with open_bundle(
            work.path, self.workings.trust, audience=None, kinds=frozenset({Kind.WORK})
        ) as bundle:
            return bundle.envelope()

    def _segment(
        self, lease: Lease, work: BundleId, attempts: tuple[Attempt, ...]
    ) -> tuple[SegmentEntry, ChunkSource]:
        run = PilotRun(os.urandom(8))
        header = SegmentHeader(
            *(run, lease.lease, lease.dataset, lease.dataset_digest, work, lease.shard, 1, HOST)
        )
        raw = segments.encode(Segment(header, attempts, complete=True))
        name = segment_digest(raw)
        signature = self._pilot.sign(pae(SEAL_PAYLOAD_TYPE, name))
        entry = SegmentEntry(
            *(name, run, self._pilot.public, signature, SITE, lease.lease, work, False)
        )
        return entry, ChunkSource("segment", name.hex(), len(attempts), raw)

    def _fill(self, failed: int) -> None:
        """Fill the database as merges of all these tasks would have left it."""
        w, row = self.workings, self.row
        states = np.full(BLOCK_JOBS, state_byte.TOUCHED | state_byte.DONE, np.uint8)
        is_ready = np.arange(BLOCK_JOBS) % RUN_JOBS >= RUN_JOBS - READY_JOBS
        states[is_ready] = state_byte.TOUCHED
        has_failed = np.arange(BLOCK_JOBS) % RUN_JOBS < failed
        states[has_failed] = state_byte.TOUCHED | COUNTED_FAILURES_MAX
        whole = packed_block(states, int(is_ready.sum()), int(has_failed.sum()))
        blocks, rest = divmod(self.tasks, BLOCK_JOBS)
        assert rest == 0 or self.tasks < BLOCK_JOBS, "fill whole blocks"
        store = w.store
        lease = LeaseId(os.urandom(16))
        for first in range(0, blocks, BLOCKS_AT_ONCE):
            with store.transaction():
                store.tasks.save_blocks(
                    row.no,
                    [
                        BlockRow(0, block, whole, int(is_ready.sum()), int(has_failed.sum()))
                        for block in range(first, min(first + BLOCKS_AT_ONCE, blocks))
                    ],
                )
        with store.transaction():
            ready = blocks * int(is_ready.sum())
            lost = blocks * int(has_failed.sum())
            done = self.tasks - ready - lost
            counts = (0, ready, 0, done, lost, 0, 0)
            store.tasks.add_to_steps(row.no, [StepRow(0, counts, done, UsageSum())])
            store.datasets.set_touched(row.no, IntervalSet(((0, self.tasks),)))
            for some in _pieces(_rows(row.no, self.tasks), 1000):
                store.segments.add(some)
        del lease


def _rows(dataset: int, tasks: int) -> Iterator[SegmentRow]:
    for first in range(0, tasks, SEGMENT_ATTEMPTS):
        last = min(first + SEGMENT_ATTEMPTS, tasks) - 1
        spans = tuple(
            Span(0, block, max(first, block << BLOCK_BITS), min(last, ((block + 1) << 16) - 1))
            for block in range(first >> BLOCK_BITS, (last >> BLOCK_BITS) + 1)
        )
        name = digest("bench", first.to_bytes(8, "big"))
        yield SegmentRow(
            name, dataset, 1, 0, 1, name[:8], "bench", last - first + 1, 0, 0, 1, 0, True, False,
            spans,
        )  # fmt: skip


def _pieces(rows: Iterator[SegmentRow], size: int) -> Iterator[list[SegmentRow]]:
    some: list[SegmentRow] = []
    for row in rows:
        some.append(row)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


def _attempts(lease: Lease, *, ugly: bool, twice: bool) -> Iterator[Attempt]:
    now_us = _now_us()
    for number, (task, generation) in enumerate(lease.tasks()):
        if ugly and number == 0 and not twice:
            continue  # it is done already
        fails = ugly and number % 33 == 7
        yield Attempt(
            *(task.job, task.step, generation, number),
            Fate.PAYLOAD_ERROR if fails else Fate.SUCCESS,
            *(int(fails), 0, now_us, 1000 * number, 1000 * number + 3_600_000_999, 0),
            usage=Usage(3_600_000 + number % 1000, 3_500_000, 800 + number % 64),
            outputs=() if fails else ((digest("output", b"%d" % task.job), 1000),),
        )


def _now_us() -> int:
    return time.time_ns() // 1000
