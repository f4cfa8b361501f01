"""A site without pilots: it asks for work and answers with well-formed results at once.

It is the load generator of the central bench; all that it signs and sends is what a relay would.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bundle.client import Client
from bundle.fates import Fate
from bundle.ids import BundleId, PilotRun, StreamId
from bundle.records import lease as leases
from bundle.records import report as reports
from bundle.records import segment as segments
from bundle.records.attempt import Attempt, Usage, outcome_digest
from bundle.records.host import Host
from bundle.records.lease import Lease
from bundle.records.seal import SEAL_PAYLOAD_TYPE
from bundle.records.segment import Segment, SegmentHeader, segment_digest
from bundle.trust import enrolment
from bundle.trust.keys import MemoryKey
from bundle.trust.request import sign_request
from bundle.trust.trust_file import TrustView
from bundle.wire.entries import SegmentEntry
from bundle.wire.manifest import Kind, ManifestDraft
from bundle.wire.preauth import pae
from bundle.wire.read import open_bundle
from bundle.wire.write import ChunkSource, write_bundle
from central.rehearsal.programs import call, call_json

HOST = Host("bench", "linux", "cpu", 1, 1024, "boot", "3.11", "bench", "none: bench")
TIMEOUT_S = 120
NO_OUTPUT = outcome_digest(())


class ScriptedSite:
    """One enrolled site that speaks the exchange over HTTP."""

    def __init__(
        self,
        name: str,
        folder: Path,
        central_dir: Path,
        root_words: str,
        client: Client | None = None,
    ) -> None:
        """Make a key in memory and enrol it: at a central that serves by its client."""
        self.name = name
        self.folder = folder
        self.key = MemoryKey.generate()
        self.pilot = MemoryKey.generate()
        self.stream = StreamId(os.urandom(16))
        self.sequence = 0
        self.previous = b""
        request, answer = folder / f"{name}.request", folder / f"{name}.answer"
        request.write_bytes(enrolment.make_request(name, self.key, created_us=_now_us()))
        words = enrolment.check_request(request.read_bytes()).fingerprint
        if client is not None:
            answer.write_bytes(client.enrol(request.read_bytes(), words))
        else:
            call(
                *("central", "enrol", str(central_dir), str(request)),
                *("--fingerprint", words, "--out", str(answer)),
            )
        accepted = enrolment.accept_answer(answer.read_bytes(), root_words, self.key.public)
        self.certificate = accepted.certificate
        self.trust = TrustView(accepted.trust)
        self.base = client.base if client is not None else ""  # once central serves

    def ask_for(self, tasks: int, slots: int = 1) -> None:
        """Send a report that wants so many tasks, of a site that runs `slots` at once."""
        raw = reports.encode(reports.Report(_now_us(), tasks, slots, 0))
        self._send(Kind.REPORT, [ChunkSource(reports.CHUNK, reports.CHUNK, 1, raw)], ())

    def fetch(self) -> list[Path]:
        """Fetch every work bundle that waits for this site."""
        waiting = json.loads(self._http("GET", f"/exchange/{self.name}/outbox"))["bundles"]
        fetched = []
        for one in waiting:
            path = self.folder / f"{one['id']}.pulk"
            if not path.exists():
                path.write_bytes(self._http("GET", f"/exchange/{self.name}/{one['id']}"))
                fetched.append(path)
        return fetched

    def answers_to(self, work: Path) -> list[tuple[ManifestDraft, list[ChunkSource]]]:
        """Return the result bundle that answers a work bundle: every task succeeded."""
        chunks: list[ChunkSource] = []
        entries: list[SegmentEntry] = []
        with open_bundle(work, self.trust, audience=None, kinds=frozenset({Kind.WORK})) as bundle:
            places = bundle.find("lease")
            if not places:
                return []
            chunks.append(ChunkSource("work-manifest", bundle.id, 1, bundle.envelope()))
            for kind in ("dataset", "lease"):
                for place in bundle.find(kind):
                    entry = bundle.manifest.chunks[place]
                    raw = bundle.chunk(place)
                    chunks.append(ChunkSource(kind, entry.name, entry.records, raw))
            for place in places:
                listed, chunk = self._segment(leases.decode(bundle.chunk(place)), bundle.id)
                entries.append(listed)
                chunks.append(chunk)
        return [(self._draft(Kind.RESULT, tuple(entries)), chunks)]

    def answers_by_lease(self, work: Path) -> Iterator[tuple[ManifestDraft, list[ChunkSource]]]:
        """Yield a result bundle for each lease of a work bundle; write each before the next."""
        with open_bundle(work, self.trust, audience=None, kinds=frozenset({Kind.WORK})) as bundle:
            documents = [
                ChunkSource("dataset", entry.name, entry.records, bundle.chunk(place))
                for place in bundle.find("dataset")
                for entry in (bundle.manifest.chunks[place],)
            ]
            envelope = ChunkSource("work-manifest", bundle.id, 1, bundle.envelope())
            for place in bundle.find("lease"):
                about, raw = bundle.manifest.chunks[place], bundle.chunk(place)
                entry, chunk = self._segment(leases.decode(raw), bundle.id)
                lease = ChunkSource("lease", about.name, about.records, raw)
                draft = self._draft(Kind.RESULT, (entry,))
                yield draft, [envelope, *documents, lease, chunk]

    def write(self, draft: ManifestDraft, chunks: list[ChunkSource]) -> tuple[str, Path]:
        """Sign and write one bundle; returns its id and where it lies."""
        path = self.folder / f"{self.name}-{self.sequence}.out"
        made = write_bundle(path, draft, chunks, self.key)
        self.previous = bytes.fromhex(made)
        self.sequence += 1
        return made, path

    def signed(self, method: str, path: str) -> str:
        """Return the header that says who asks."""
        return sign_request(self.key, self.certificate, method, path, _now_us())

    def send(self, draft: ManifestDraft, chunks: list[ChunkSource]) -> Any:
        """Sign, write and send one bundle; returns central's answer."""
        made, path = self.write(draft, chunks)
        body = path.read_bytes()
        path.unlink()
        return json.loads(self._http("PUT", f"/exchange/{self.name}/{made}", body))

    def _send(self, kind: Kind, chunks: list[ChunkSource], entries: tuple[()]) -> None:
        self.send(self._draft(kind, entries), chunks)

    def _draft(self, kind: Kind, entries: tuple[SegmentEntry, ...]) -> ManifestDraft:
        return ManifestDraft(
            kind=kind,
            producer=self.name,
            stream=self.stream,
            sequence=self.sequence,
            created_us=_now_us(),
            previous=self.previous,
            audience="central",
            certificate=self.certificate,
            segments=entries,
        )

    def _segment(self, lease: Lease, work: BundleId) -> tuple[SegmentEntry, ChunkSource]:
        run = PilotRun(os.urandom(8))
        header = SegmentHeader(
            *(run, lease.lease, lease.dataset, lease.dataset_digest, work, lease.shard, 1, HOST)
        )
        now_us = _now_us()
        attempts = tuple(
            Attempt(
                *(task.job, task.step, generation, number, Fate.SUCCESS, 0, 0),
                *(now_us, 1000 * number, 1000 * number + 999, 0),
                usage=Usage(3_600_000 + number % 1000, 3_500_000, 800 + number % 64),
            )
            for number, (task, generation) in enumerate(lease.tasks())
        )
        raw = segments.encode(Segment(header, attempts, complete=True))
        digest = segment_digest(raw)
        signature = self.pilot.sign(pae(SEAL_PAYLOAD_TYPE, digest))
        entry = SegmentEntry(
            *(digest, run, self.pilot.public, signature, "bench", lease.lease, work, False)
        )
        return entry, ChunkSource("segment", digest.hex(), len(attempts), raw)

    def _http(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(  # noqa: S310  loopback
            self.base + path,
            data=body,
            method=method,
            headers={
                "Authorization": self.signed(method, path),
                "Content-Type": "application/octet-stream",
            },
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return bytes(answer.read())


def init_central(folder: Path) -> tuple[Path, str]:
    """Make a central; returns its folder and the root's words."""
    made = call_json("central", "init", str(folder / "central"))
    return folder / "central", made["root_fingerprint"]


def _now_us() -> int:
    return time.time_ns() // 1000
