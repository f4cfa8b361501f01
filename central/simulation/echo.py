"""A site without pilots that answers every work bundle at once: each task succeeded.

What it signs is what a relay would sign; it is there to have something to measure with.
"""

from __future__ import annotations

import os
from pathlib import Path

from bundle.fates import Fate
from bundle.ids import BundleId, PilotRun, SiteName, StreamId
from bundle.intervals import IntervalSet
from bundle.records import lease as leases
from bundle.records import report as reports
from bundle.records import segment as segments
from bundle.records.attempt import Attempt, Usage
from bundle.records.host import Host
from bundle.records.lease import Lease
from bundle.records.report import Report
from bundle.records.seal import SEAL_PAYLOAD_TYPE
from bundle.records.segment import Segment, SegmentHeader, segment_digest
from bundle.trust import enrolment, fingerprint
from bundle.trust.keys import MemoryKey
from bundle.trust.trust_file import TrustView
from bundle.wire.entries import SegmentEntry
from bundle.wire.manifest import CENTRAL, Kind, ManifestDraft
from bundle.wire.preauth import pae
from bundle.wire.read import open_bundle
from bundle.wire.write import ChunkSource, write_bundle
from central.authority import Authority
from central.home import now_us

HOST = Host("node", "linux", "cpu", 1, 4096, "boot", "3.11", "0", "none: simulated")


class Echo:
    """One enrolled site with a key in memory."""

    def __init__(self, name: str, folder: Path, authority: Authority) -> None:
        """Enrol at a central in this process."""
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self._folder = SiteName(name), folder
        self._key, self._pilot = MemoryKey.generate(), MemoryKey.generate()
        self._stream, self._sequence = StreamId(os.urandom(16)), 0
        self._received: dict[StreamId, IntervalSet] = {}
        self.tasks = 0  # that it has answered
        request = enrolment.make_request(name, self._key, created_us=now_us())
        answer = authority.enrol(request, fingerprint.of_key(self._key.public))
        trust, _ = enrolment.read_answer(answer)
        words = fingerprint.of_roots(trust)
        accepted = enrolment.accept_answer(answer, words, self._key.public, site=name)
        self._certificate, self._trust = accepted.certificate, TrustView(accepted.trust)

    def report(self, tasks_wanted: int) -> Path:
        """Return a report that wants so many tasks, and has a slot for each."""
        raw = reports.encode(Report(now_us(), tasks_wanted, tasks_wanted, 0))
        chunk = ChunkSource(reports.CHUNK, reports.CHUNK, 1, raw)
        return self._write(self._draft(Kind.REPORT, ()), [chunk])

    def answer(self, work: Path) -> Path | None:
        """Return the result bundle that answers a work bundle; None where it holds no tasks."""
        chunks: list[ChunkSource] = []
        entries: list[SegmentEntry] = []
        with open_bundle(
            work, self._trust, audience=self.name, kinds=frozenset({Kind.WORK})
        ) as one:
            stream, number = one.manifest.stream, one.manifest.sequence
            known = self._received.get(stream, IntervalSet())
            self._received[stream] = known | IntervalSet.of([number])
            chunks.append(ChunkSource("work-manifest", one.id, 1, one.envelope()))
            for kind in ("dataset", "lease"):
                for place in one.find(kind):
                    entry = one.manifest.chunks[place]
                    chunks.append(ChunkSource(kind, entry.name, entry.records, one.chunk(place)))
            for place in one.find("lease"):
                listed, chunk = self._segment(leases.decode(one.chunk(place)), one.id)
                entries.append(listed)
                chunks.append(chunk)
        if not entries:
            return None
        return self._write(self._draft(Kind.RESULT, tuple(entries)), chunks)

    def _segment(self, lease: Lease, work: BundleId) -> tuple[SegmentEntry, ChunkSource]:
        run = PilotRun(os.urandom(8))
        header = SegmentHeader(
            run, lease.lease, lease.dataset, lease.dataset_digest, work, lease.shard, 1, HOST
        )
        begun_us = now_us()
        attempts = tuple(
            Attempt(
                job=task.job,
                step=task.step,
                generation=generation,
                local=number,
                fate=Fate.SUCCESS,
                exit_code=0,
                signal=0,
                started_us=begun_us + number,
                started_mono_us=1000 * number,
                ended_mono_us=1000 * number + 999,
                slot=0,
                usage=Usage(3_600_000 + number % 1000, 3_500_000, 800 + number % 64),
            )
            for number, (task, generation) in enumerate(lease.tasks())
        )
        self.tasks += len(attempts)
        raw = segments.encode(Segment(header, attempts, complete=True))
        digest = segment_digest(raw)
        signature = self._pilot.sign(pae(SEAL_PAYLOAD_TYPE, digest))
        entry = SegmentEntry(
            digest=digest,
            pilot_run=run,
            pilot_key=self._pilot.public,
            pilot_signature=signature,
            batch_id="simulated",
            lease=lease.lease,
            work=work,
            telemetry=False,
        )
        return entry, ChunkSource("segment", digest.hex(), len(attempts), raw)

    def _draft(self, kind: Kind, entries: tuple[SegmentEntry, ...]) -> ManifestDraft:
        sequence, self._sequence = self._sequence, self._sequence + 1
        return ManifestDraft(
            kind=kind,
            producer=self.name,
            stream=self._stream,
            sequence=sequence,
            created_us=now_us(),
            audience=CENTRAL,
            certificate=self._certificate,
            segments=entries,
            received=tuple(sorted(self._received.items())),
        )

    def _write(self, draft: ManifestDraft, chunks: list[ChunkSource]) -> Path:
        path = self._folder / f"{draft.sequence:06d}.pulk"
        write_bundle(path, draft, chunks, self._key)
        return path
