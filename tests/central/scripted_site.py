"""A small real site without processes: takes work bundles, plays their shards, signs results.

It does what relay and pilot do, through the same records and the same wire format; what a payload
would write is derived from names, so that every run gives the same outputs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bundle.dataset import graph, spec
from bundle.dataset.spec import Dataset
from bundle.fates import Fate, counts
from bundle.ids import BundleId, LeaseId, PilotRun, SiteName, StreamId
from bundle.intervals import IntervalSet
from bundle.records import lease as leases
from bundle.records import report as reports
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.records.attempt import Attempt, Usage, outcome_digest
from bundle.records.lease import Lease
from bundle.records.report import HeldWork, Report
from bundle.records.segment import Host, Segment, SegmentHeader
from bundle.trust import enrolment
from bundle.trust.keys import MemoryKey
from bundle.trust.trust_file import TrustView
from bundle.wire.manifest import CENTRAL, Kind, ManifestDraft
from bundle.wire.preauth import pae
from bundle.wire.read import open_bundle
from bundle.wire.write import ChunkSource, write_bundle
from central.authority import Authority

Place = tuple[int, int]  # (step, job)
Outputs = tuple[tuple[bytes, int], ...]

HOST = Host("node1", "6.1.0", "a cpu", 8, 16_000, "boot-1", "3.11", "0.1.0", "namespace")
USAGE = Usage(1000, 900, 50, 4096, 10, 20)


def payload_output(task: str, number: int, parents: Iterable[bytes], salt: str = "") -> bytes:
    """The content that the scripted payload writes: depends on its task and its parents."""
    running = hashlib.sha256(f"{task} {number} {salt}".encode())
    for digest in parents:
        running.update(digest)
    return running.hexdigest().encode()


@dataclass
class Held:
    """A work bundle at the site."""

    id: BundleId
    envelope: bytes
    leases: list[Lease]
    lease_raw: dict[LeaseId, bytes]
    datasets: dict[bytes, bytes]
    stream: StreamId
    sequence: int
    outcomes: dict[Place, tuple[Outputs, bytes]] = field(default_factory=dict)


@dataclass
class Played:
    """One shard played: its segment, and the files that travel home."""

    held: Held
    lease: Lease
    segment: Segment
    files: dict[bytes, bytes]


class ScriptedSite:
    """One enrolled site with a key, a stream, and what it received."""

    def __init__(self, name: str, folder: Path, authority: Authority) -> None:
        self.name = SiteName(name)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.key = MemoryKey.generate()
        request = enrolment.make_request(name, self.key, created_us=1)
        words = enrolment.check_request(request).fingerprint
        root = _root_words(authority)
        answer = authority.enrol(request, words)
        accepted = enrolment.accept_answer(answer, root, self.key.public, site=name)
        self.certificate, self.trust = accepted.certificate, TrustView(accepted.trust)
        self.stream = StreamId(os.urandom(16))
        self.sequence = 0
        self.clock_us = 1_700_000_000_000_000
        self.received: dict[StreamId, IntervalSet] = {}
        self.works: dict[BundleId, Held] = {}
        self.told: set[bytes] = set()
        self.files: set[bytes] = set()  # that came with work
        self.runs = 0

    def take(self, path: Path) -> Held:
        """Accept a work bundle, verified as a relay does."""
        kinds = frozenset({Kind.WORK})
        with open_bundle(path, self.trust, audience=self.name, kinds=kinds) as bundle:
            bundle.check_all()
            raw = {place: bundle.chunk(place) for place in bundle.find("lease")}
            found = [leases.decode(one) for one in raw.values()]
            names = (bundle.manifest.chunks[place].name for place in bundle.find("data"))
            self.files.update(map(bytes.fromhex, names))
            held = Held(
                bundle.id,
                bundle.envelope(),
                found,
                {one.lease: data for one, data in zip(found, raw.values(), strict=True)},
                {
                    bundle.manifest.chunks[place].digest: bundle.chunk(place)
                    for place in bundle.find("dataset")
                },
                bundle.manifest.stream,
                bundle.manifest.sequence,
            )
        old = self.received.get(held.stream, IntervalSet())
        self.received[held.stream] = old | IntervalSet.of([held.sequence])
        if held.leases:
            self.works[held.id] = held
        return held

    def fetch(self, authority: Authority) -> list[Held]:
        """Take the whole outbox."""
        return [
            self.take(authority.outgoing(self.name, one.id)) for one in authority.outbox(self.name)
        ]

    def play(
        self,
        held: Held,
        lease: Lease,
        *,
        fate: Callable[[Place, int], Fate] = lambda _place, _tried: Fate.SUCCESS,
        salt: str = "",
        complete: bool = True,
        jobs: IntervalSet | None = None,
    ) -> Played:
        """Run every task of a shard, parents first, each until it succeeds or gives up."""
        dataset = spec.decode(held.datasets[lease.dataset_digest])
        outcomes = dict(held.outcomes)
        for pin in lease.pins:
            outcomes[pin.step, pin.job] = (pin.outputs, outcome_digest(pin.outputs))
        self.runs += 1
        header = SegmentHeader(
            PilotRun(os.urandom(8)),
            lease.lease,
            lease.dataset,
            lease.dataset_digest,
            held.id,
            lease.shard,
            1,
            HOST,
        )
        spent = {(step, job): used for job, step, used in lease.spent}
        attempts: list[Attempt] = []
        files: dict[bytes, bytes] = {}
        for place, generation in _in_order(dataset, lease):
            if jobs is not None and place[1] not in jobs:
                continue
            parents = graph.parents(dataset, *place)
            if any(parent not in outcomes for parent in parents):
                continue
            consumed = tuple(outcomes[parent][1] for parent in parents)
            failures = spent.get(place, 0)
            for tried in range(10):
                made = fate(place, tried)
                contents = (
                    _contents(dataset, lease, place, consumed, salt) if made is Fate.SUCCESS else ()
                )
                outputs = tuple((hashlib.sha256(one).digest(), len(one)) for one in contents)
                attempts.append(
                    _attempt(place, generation, len(attempts), made, consumed, outputs, self)
                )
                if made is Fate.SUCCESS:
                    outcomes[place] = (outputs, outcome_digest(outputs))
                    if place[0] in lease.returns:
                        files |= {hashlib.sha256(one).digest(): one for one in contents}
                    break
                failures += counts(made)
                if failures >= dataset.steps[place[0]].failures_max or not counts(made):
                    break
        held.outcomes.update(outcomes)
        return Played(held, lease, Segment(header, tuple(attempts), complete), files)

    def result(self, played: Iterable[Played], *, told: bool = True, **changes: Any) -> Path:
        """Pack shards that were played into a signed result bundle."""
        played = list(played)
        preface: dict[bytes, ChunkSource] = {}
        chunks: list[ChunkSource] = []
        entries = []
        files: dict[bytes, bytes] = {}
        for one in played:
            raw = segments.encode(one.segment)
            digest = segments.segment_digest(raw)
            pilot = MemoryKey.generate()
            signature = pilot.sign(pae(seals.SEAL_PAYLOAD_TYPE, digest))
            chunks.append(ChunkSource("segment", digest.hex(), len(one.segment.attempts), raw))
            entries.append(_entry(digest, one, pilot.public, signature))
            files |= one.files
            lease_raw = one.held.lease_raw[one.lease.lease]
            document = one.held.datasets[one.lease.dataset_digest]
            for kind, name, data in (
                ("work-manifest", one.held.id, one.held.envelope),
                ("lease", one.lease.lease.hex(), lease_raw),
                ("dataset", one.lease.dataset, document),
            ):
                key = hashlib.sha256(kind.encode() + data).digest()
                if key not in self.told:
                    preface[key] = ChunkSource(kind, name, 1, data)
        if told:
            self.told |= preface.keys()
        outputs = [ChunkSource("data", key.hex(), 0, files[key]) for key in sorted(files)]
        draft = replace(self.draft(Kind.RESULT), segments=tuple(entries))
        return self.write(replace(draft, **changes), [*preface.values(), *chunks, *outputs])

    def report(self, tasks_wanted: int, **said: Any) -> Path:
        """Pack a report of what it wants and holds; `said`: other fields of it."""
        held = tuple(HeldWork(one.id, len(one.leases), 0, 0) for one in self.works.values())
        self.clock_us += 1
        raw = reports.encode(Report(self.clock_us, tasks_wanted, 4, 1, held, **said))
        chunk = ChunkSource(reports.CHUNK, reports.CHUNK, 1, raw)
        return self.write(self.draft(Kind.REPORT), [chunk])

    def draft(self, kind: Kind) -> ManifestDraft:
        """The manifest of its next bundle."""
        self.clock_us += 1
        sequence, self.sequence = self.sequence, self.sequence + 1
        return ManifestDraft(
            kind=kind,
            producer=self.name,
            stream=self.stream,
            sequence=sequence,
            created_us=self.clock_us,
            audience=CENTRAL,
            certificate=self.certificate,
            received=tuple(sorted(self.received.items())),
        )

    def write(self, draft: ManifestDraft, chunks: Iterable[ChunkSource]) -> Path:
        """Write and sign a bundle into its folder."""
        path = self.folder / f"{draft.sequence:04d}-{os.urandom(3).hex()}.pulk"
        write_bundle(path, draft, chunks, self.key)
        return path

    def work_all(self, authority: Authority, tasks_wanted: int = 1000, **how: Any) -> list[Path]:
        """Report, fetch, play every shard, bring results; until there is nothing more."""
        brought: list[Path] = []
        while True:
            assert authority.absorb(self.report(tasks_wanted)).outcome == "merged"
            fetched = [one for one in self.fetch(authority) if one.leases]
            if not fetched:
                return brought
            for held in fetched:
                played = [self.play(held, lease, **how) for lease in by_needs(held.leases)]
                path = self.result(played)
                brought.append(path)
                found = authority.absorb(path)
                assert found.outcome == "merged", found
                del self.works[held.id]


def by_needs(found: Iterable[Lease]) -> list[Lease]:
    """Shards in an order in which each comes after those it needs."""
    return sorted(found, key=lambda lease: lease.shard)


def _in_order(dataset: Dataset, lease: Lease) -> Iterator[tuple[Place, int]]:
    rank = {step: number for number, step in enumerate(graph.order(dataset))}
    tasks = [((task.step, task.job), generation) for task, generation in lease.tasks()]
    return iter(sorted(tasks, key=lambda one: (rank[one[0][0]], one[0][1])))


def _contents(
    dataset: Dataset, lease: Lease, place: Place, consumed: tuple[bytes, ...], salt: str
) -> tuple[bytes, ...]:
    step, job = place
    task = f"{lease.dataset}/{job}/{step}"
    count = len(dataset.steps[step].outputs)
    return tuple(payload_output(task, number, consumed, salt) for number in range(count))


def _attempt(
    place: Place,
    generation: int,
    local: int,
    fate: Fate,
    consumed: tuple[bytes, ...],
    outputs: Outputs,
    site: ScriptedSite,
) -> Attempt:
    at = site.runs * 1_000_000 + local * 10
    return Attempt(
        job=place[1],
        step=place[0],
        generation=generation,
        local=local,
        fate=fate,
        exit_code=0 if fate is Fate.SUCCESS else 1,
        signal=0,
        started_us=1_700_000_000_000_000 + at,
        started_mono_us=at,
        ended_mono_us=at + 5,
        slot=0,
        usage=USAGE,
        consumed=consumed,
        outputs=outputs,
        software="model==1.2",
    )


def _entry(digest: bytes, one: Played, key: bytes, signature: bytes) -> Any:
    from bundle.wire.entries import SegmentEntry

    return SegmentEntry(
        digest=digest,
        pilot_run=one.segment.header.pilot_run,
        pilot_key=key,
        pilot_signature=signature,
        batch_id="batch-1",
        lease=one.lease.lease,
        work=one.held.id,
        telemetry=False,
    )


def _root_words(authority: Authority) -> str:
    from bundle.trust import fingerprint

    return fingerprint.of_roots(authority._w.trust.trust)
