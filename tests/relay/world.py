"""A small real world around a relay: an authority, an enrolled site, a packer, a pilot.

Everything is made by the same functions that the programs use; nothing is pretended.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Output, Step
from bundle.digest import chunk_digest, file_digest
from bundle.fates import Fate
from bundle.ids import BundleId, DatasetId, Epoch, LeaseId, PilotRun, StreamId, dataset_id
from bundle.intervals import IntervalSet
from bundle.records import lease as leases
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.records import telemetry
from bundle.records.attempt import Attempt
from bundle.records.host import Host
from bundle.records.lease import Block, Lease
from bundle.records.receipt import StreamReceipt
from bundle.records.seal import SEAL_PAYLOAD_TYPE, Claim, Seal
from bundle.records.segment import Segment, SegmentHeader
from bundle.spool import publish, records
from bundle.spool import shard as shard_files
from bundle.spool.journal import JournalWriter
from bundle.spool.layout import SealName, ShardName, Spool
from bundle.spool.records import Begun
from bundle.trust import certificate, enrolment, fingerprint, quickstart
from bundle.trust.certificate import Certificate
from bundle.trust.keys import MemoryKey
from bundle.trust.trust_file import TrustView
from bundle.wire.manifest import Kind, Manifest, ManifestDraft
from bundle.wire.preauth import pae
from bundle.wire.read import open_bundle
from bundle.wire.write import ChunkSource, write_bundle
from relay import enrol
from relay.home import Home, open_home

SITE = "north"
CENTRALS_STREAM = StreamId(b"c" * 16)
EPOCH = Epoch(1, bytes(16))
HOST = Host("node", "6.1", "cpu", 2, 4096, "boot", "3.11", "0", "namespace")


@dataclass(frozen=True, slots=True)
class Arrived:
    """What central reads in one bundle of the site."""

    id: BundleId
    manifest: Manifest
    segments: tuple[Segment, ...]
    files: frozenset[bytes]


@dataclass(slots=True)
class World:
    """An authority and one enrolled site in a folder."""

    root: Path
    authority: quickstart.Authority
    home: Home
    stream: StreamId = CENTRALS_STREAM
    sequence: int = 0
    dataset: Dataset = field(default_factory=lambda: a_dataset(4))
    dataset_id: DatasetId = field(default_factory=lambda: dataset_id(b"d" * 16))

    @property
    def spool(self) -> Spool:
        """The site's spool."""
        return self.home.spool

    def trust(self) -> TrustView:
        """What central trusts."""
        return TrustView(self.authority.trust)

    def lease(
        self,
        shard: int,
        jobs: Iterable[int],
        needs: tuple[int, ...] = (),
        returns: tuple[int, ...] = (0,),
        duration_ms: int = 0,
    ) -> Lease:
        """Make a lease of step 0 for some jobs."""
        raw = spec.encode(self.dataset)
        return Lease(
            lease=LeaseId(os.urandom(16)),
            dataset=self.dataset_id,
            dataset_digest=spec.dataset_digest(raw),
            shard=shard,
            blocks=(Block(0, IntervalSet.of(jobs), (0,)),),
            spec_hashes=((0, bytes(32)),),
            needs=needs,
            returns=returns,
            pins=(),
            spent=(),
            duration_ms=duration_ms,
        )

    def pack(
        self,
        *promised: Lease,
        data: Iterable[bytes] = (),
        more: Iterable[ChunkSource] = (),
        **fields: object,
    ) -> Path:
        """Write central's next work bundle and return its path, named by its id."""
        raw = spec.encode(self.dataset)
        chunks = [ChunkSource("dataset", self.dataset_id, 1, raw)] if promised else []
        chunks += [
            ChunkSource("lease", one.lease.hex(), one.count(), leases.encode(one))
            for one in promised
        ]
        chunks += more
        chunks += [
            ChunkSource("data", chunk_digest("data", content).hex(), 0, content) for content in data
        ]
        known: dict[str, object] = {
            "kind": Kind.WORK,
            "producer": "central",
            "stream": self.stream,
            "sequence": self.sequence,
            "created_us": 1,
            "audience": SITE,
            "epoch": EPOCH,
            "commit": self.sequence,
        }
        self.sequence += 1
        path = self.root / "unnamed"
        draft = ManifestDraft(**(known | fields))  # type: ignore[arg-type]
        made = write_bundle(path, draft, chunks, self.authority.central)
        return path.rename(self.root / f"{made}.pulk")

    def deliver(self, path: Path) -> None:
        """Put a copy of a bundle into the site's `in/`."""
        shutil.copy(path, self.spool.folder("in") / path.name)

    def out(self, *places: str) -> list[Path]:
        """Return the bundle files in some folders of the spool, sorted by name."""
        return sorted(
            path for place in places or ("out",) for path in self.spool.folder(place).iterdir()
        )

    def read(self, path: Path) -> Arrived:
        """Read a bundle of the site as central would, every byte verified."""
        kinds = frozenset({Kind.RESULT, Kind.REPORT, Kind.TELEMETRY})
        with open_bundle(path, self.trust(), audience="central", kinds=kinds) as bundle:
            bundle.check_all()
            return Arrived(
                bundle.id,
                bundle.manifest,
                tuple(segments.decode(bundle.chunk(at)) for at in bundle.find("segment")),
                frozenset(bundle.manifest.chunks[at].digest for at in bundle.find("data")),
            )

    def results(self, paths: Iterable[Path]) -> list[Arrived]:
        """Read the result bundles among some files."""
        found = [self.read(path) for path in paths]
        return [one for one in found if one.manifest.kind is Kind.RESULT]

    def receipts(self, *arrived: Arrived, safe: bool = True) -> tuple[StreamReceipt, ...]:
        """Return central's receipts for bundles that arrived."""
        by_stream: dict[StreamId, list[int]] = {}
        for one in arrived:
            by_stream.setdefault(one.manifest.stream, []).append(one.manifest.sequence)
        return tuple(
            StreamReceipt(
                stream,
                merged=IntervalSet.of(numbers),
                safe=IntervalSet.of(numbers) if safe else IntervalSet(),
            )
            for stream, numbers in sorted(by_stream.items())
        )

    def pilot(self, **about: object) -> Pilot:
        """Start a pilot, its claim written."""
        return Pilot.start(self.spool, **about)  # type: ignore[arg-type]


@dataclass(slots=True)
class Pilot:
    """A pilot that runs its tasks by writing down that they ran."""

    spool: Spool
    run: PilotRun
    key: MemoryKey
    batch_id: str
    site: str = SITE

    @classmethod
    def start(
        cls,
        spool: Spool,
        *,
        batch_id: str = "by-hand",
        pid: int = 0,
        host: str = "elsewhere",
        boot_id: str = "boot",
        start_ticks: int = 1,
    ) -> Pilot:
        """Make the claim; by default that of a pilot on another host, which nobody can judge."""
        pilot = cls(spool, PilotRun(os.urandom(8)), MemoryKey.generate(), batch_id)
        claim = Claim(
            pilot_run=pilot.run,
            pilot_key=pilot.key.public,
            batch_id=batch_id,
            host=host,
            boot_id=boot_id,
            pid=pid or 1,
            start_ticks=start_ticks,
            started_us=1,
            slots=1,
            offline="namespace",
        )
        publish.make_folder(spool.claimed(pilot.run))
        raw = seals.encode_claim(claim)
        publish.write_new_file(spool.folder("tmp"), spool.claim(pilot.run), raw)
        return pilot

    def take(self) -> SegmentHeader | None:
        """Claim the first shard on offer; None where there is none."""
        for path in sorted(self.spool.folder("claimable").iterdir()):
            shard = shard_files.decode(path.read_bytes(), where=str(path))
            if publish.claim(path, self.spool.held_shard(self.run, shard.name)):
                return self._header(shard)
        return None

    def journal(
        self, header: SegmentHeader, jobs: Iterable[int], *, begun: Iterable[Begun] = ()
    ) -> tuple[Path, list[Attempt]]:
        """Run some jobs of a shard, journaled and synced, as far as that; `begun` come first."""
        name = self.name(header).shard
        path = self.spool.journal(self.run, name)
        writer = JournalWriter(path)
        writer.append(records.header_record(header))
        if started := list(begun):
            writer.append(records.begun_record(started))
        attempts = [self._attempt(job, number) for number, job in enumerate(jobs)]
        for attempt in attempts:
            writer.append(records.attempt_record(attempt, b"log %d" % attempt.local))
        writer.close()
        return path, attempts

    def seal(
        self,
        header: SegmentHeader,
        attempts: Iterable[Attempt],
        *,
        complete: bool = True,
        key: MemoryKey | None = None,
    ) -> Path:
        """Publish a seal and let the shard go."""
        raw = segments.encode(Segment(header, tuple(attempts), complete))
        signer = key or self.key
        digest = segments.segment_digest(raw)
        seal = Seal(
            segment=raw,
            pilot_key=self.key.public,
            signature=signer.sign(pae(SEAL_PAYLOAD_TYPE, digest)),
            logs=seals.encode_logs({0: b"hello"}),
            telemetry=telemetry.encode((telemetry.Sample(1, 2, 3, 4, 5),)),
            batch_id=self.batch_id,
        )
        target = self.spool.seal(self.name(header))
        publish.write_new_file(self.spool.folder("tmp"), target, seals.encode(seal))
        shard = self.name(header).shard
        publish.remove(self.spool.held_shard(self.run, shard))
        publish.remove(self.spool.journal(self.run, shard))
        return target

    def work_through(self) -> int:
        """Claim, run, seal until nothing is on offer; return how many shards."""
        done = 0
        while self.work_one():
            done += 1
        return done

    def work_one(self) -> bool:
        """Claim, run and seal one shard; False where nothing is on offer."""
        header = self.take()
        if header is None:
            return False
        self.seal(header, self.journal(header, self.jobs(header))[1])
        return True

    def end(self) -> None:
        """Take the claim away, as a pilot does when it ends."""
        shutil.rmtree(self.spool.claimed(self.run))

    def jobs(self, header: SegmentHeader) -> list[int]:
        """Return the jobs that a shard's lease holds."""
        trust = TrustView.load(self.spool.trust)
        path = self.spool.work_bundle(header.work)
        with open_bundle(path, trust, audience=self.site, kinds=frozenset({Kind.WORK})) as bundle:
            lease = leases.decode(bundle.chunk(bundle.one("lease", header.lease.hex())))
            return [task.job for task, _ in lease.tasks()]

    def name(self, header: SegmentHeader) -> SealName:
        """Return the name of the seal for a shard."""
        return SealName(ShardName(header.lease, header.turn), self.run)

    def _header(self, shard: shard_files.ShardFile) -> SegmentHeader:
        trust = TrustView.load(self.spool.trust)
        path = self.spool.work_bundle(shard.bundle)
        with open_bundle(path, trust, audience=self.site, kinds=frozenset({Kind.WORK})) as bundle:
            lease = leases.decode(bundle.chunk(bundle.one("lease", shard.lease.hex())))
        return SegmentHeader(
            self.run,
            shard.lease,
            lease.dataset,
            lease.dataset_digest,
            shard.bundle,
            shard.shard,
            shard.turn,
            HOST,
        )

    def _attempt(self, job: int, local: int) -> Attempt:
        part = self.spool.folder("tmp") / f"output-{os.urandom(6).hex()}"
        part.write_bytes(f"output of job {job}".encode())
        size, file = part.stat().st_size, file_digest(part)
        publish.make_folder(self.spool.data(file).parent)
        publish.publish(part, self.spool.data(file))
        return Attempt(job, 0, 0, local, Fate.SUCCESS, 0, 0, 1, 1, 2, 0, outputs=((file, size),))


def a_dataset(jobs: int) -> Dataset:
    """Return a dataset of one step with one output."""
    step = Step("generate", Command(("/bin/true",)), outputs=(Output("out"),))
    return Dataset("test", jobs, 1, (step,))


def make_world(root: Path, config: str = "") -> World:
    """Make an authority and enrol a site with both fingerprints; it starts no pilots by itself."""
    authority = quickstart.make_authority(root / "root", root / "central")
    folder = root / "site"
    made = enrol.init(folder, SITE, "")
    request = enrolment.check_request(made.request.read_bytes())
    assert fingerprint.same(made.fingerprint, request.fingerprint)
    certified = certificate.issue(Certificate(request.site, request.key, 1, 1), authority.registrar)
    answer = root / "answer"
    answer.write_bytes(enrolment.make_answer(certified, authority.trust.raw))
    enrol.accept(folder, answer, fingerprint.of_roots(authority.trust))
    text = f'[site]\nname = "{SITE}"\n[spool]\nfree_bytes_min = 0\nfree_inodes_min = 0\n'
    (folder / "relay.toml").write_text(text + (config or "[pilots]\ncount = 0\n"))
    return World(root, authority, open_home(folder))
