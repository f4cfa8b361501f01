"""A real central and a real enrolled site around the tests of central's shell."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Output, Step
from bundle.ids import StreamId
from bundle.records import report as reports
from bundle.records.report import Report
from bundle.trust import enrolment, fingerprint
from bundle.trust.keys import MemoryKey
from bundle.trust.trust_file import TrustView
from bundle.wire.manifest import Kind, ManifestDraft
from bundle.wire.write import ChunkSource, write_bundle
from central.authority import Authority
from central.config import Config
from central.home import Created, Home, create, now_us, open_home

SITE = "north"


@dataclass(slots=True)
class Site:
    """A site's key and certificate, beside the central that is to know it."""

    root: Path
    created: Created
    key: MemoryKey
    certificate: bytes = b""
    stream: StreamId = field(default_factory=lambda: StreamId(b"s" * 16))

    @classmethod
    def asking(cls, root: Path) -> Site:
        """Make a central, and a site whose request lies there."""
        site = cls(root, create(Home(root / "central")), MemoryKey.generate())
        raw = enrolment.make_request(SITE, site.key, created_us=now_us())
        site.request.write_bytes(raw)
        return site

    @property
    def home(self) -> Home:
        """Central's folder."""
        return self.created.home

    @property
    def request(self) -> Path:
        """The enrolment request."""
        return self.root / "request"

    @property
    def fingerprint(self) -> str:
        """What the site's operator reads out."""
        return fingerprint.of_key(self.key.public)

    @property
    def token(self) -> str:
        """The administrator's token."""
        return self.home.token.read_text().strip()

    def accept(self, answer: Path) -> None:
        """Take central's answer."""
        words = self.created.root_fingerprint
        found = enrolment.accept_answer(answer.read_bytes(), words, self.key.public, site=SITE)
        self.certificate = found.certificate

    def trust(self) -> TrustView:
        """The trust file."""
        return TrustView.load(self.home.trust)

    def authority(self) -> Authority:
        """Open the authority in this process."""
        return Authority.open(open_home(self.home.root), Config(), clock_us=now_us)

    def submit(self, jobs: int) -> str:
        """Submit a small dataset without a server."""
        authority = self.authority()
        try:
            key, token_id = os.urandom(8).hex(), authority.token(self.token)
            return authority.submit(document(jobs), idempotency_key=key, token_id=token_id).id
        finally:
            authority.close()

    def report(self, folder: Path, sequence: int, tasks_wanted: int = 0) -> Path:
        """Write a signed report bundle, named by its id."""
        content = Report(now_us(), tasks_wanted, slots=2, pilots_running=0)
        draft = ManifestDraft(
            kind=Kind.REPORT,
            producer=SITE,
            stream=self.stream,
            sequence=sequence,
            created_us=now_us(),
            audience="central",
            certificate=self.certificate,
        )
        chunk = ChunkSource(reports.CHUNK, reports.CHUNK, 1, reports.encode(content))
        path = folder / "unnamed"
        made = write_bundle(path, draft, [chunk], self.key)
        return path.rename(folder / f"{made}.pulk")


def enrolled(root: Path) -> Site:
    """Return a site that central certified."""
    site = Site.asking(root)
    authority = site.authority()
    try:
        (root / "answer").write_bytes(authority.enrol(site.request.read_bytes(), site.fingerprint))
    finally:
        authority.close()
    site.accept(root / "answer")
    return site


def document(jobs: int) -> bytes:
    """Return the canonical bytes of a dataset of one step."""
    step = Step(name="make", run=Command(("true",)), outputs=(Output("made", False),))
    return spec.encode(Dataset(name="small", jobs=jobs, steps=(step,), seed=1))
