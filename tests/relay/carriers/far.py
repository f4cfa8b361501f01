"""The real central and its site that all carriers are tried on."""

from __future__ import annotations

import os
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Step
from bundle.digest import chunk_digest
from bundle.ids import BundleId, StreamId
from bundle.wire.manifest import Kind, ManifestDraft
from bundle.wire.write import ChunkSource, write_bundle
from central.home import now_us
from relay.carrier.contract import Outgoing
from relay.carrier.http import Standing
from tests.central.site import SITE
from tests.central.test_http import Served

LARGE_BYTES = 6 << 20


@dataclass(slots=True)
class Far:
    """A served central; `offered`: the large work bundle that waits there for the site."""

    served: Served
    folder: Path
    numbered: int = 0
    offered: BundleId = field(default=BundleId(""))

    @property
    def file(self) -> Path:
        """A copy of what is offered."""
        return self.folder / "offered.pulk"

    @property
    def place(self) -> tuple[str, int]:
        parts = urllib.parse.urlsplit(self.served.url)
        return parts.hostname or "", parts.port or 0

    @property
    def standing(self) -> Standing:
        site = self.served.site
        return Standing(SITE, site.key, site.certificate)

    def prepare(self) -> None:
        """Have central pack a large work bundle for the site."""
        files = tuple((f"f{n}", os.urandom(LARGE_BYTES // 8)) for n in range(8))
        step = Step("make", Command(("true",)), files=tuple(name for name, _ in files))
        raw = spec.encode(Dataset("large", 3, 1, (step,), files=files))
        self.served.client.submit(raw, os.urandom(8).hex())
        self.served.put(self.served.site.report(self.folder, 0, tasks_wanted=10))
        (row,) = self.served.outbox()
        assert row["bytes"] > LARGE_BYTES // 2
        self.offered = BundleId(row["id"])
        path = f"/exchange/{SITE}/{self.offered}"
        status, content = self.served.ask("GET", path)
        assert status == 200
        self.file.write_bytes(content)

    def bundle(self, size_bytes: int = 1000) -> Outgoing:
        """Make a bundle of the site's that central takes."""
        self.numbered += 1
        content = os.urandom(size_bytes)
        draft = ManifestDraft(
            kind=Kind.TELEMETRY,
            producer=SITE,
            stream=StreamId(os.urandom(16)),
            sequence=self.numbered,
            created_us=now_us(),
            audience="central",
            certificate=self.served.site.certificate,
        )
        chunk = ChunkSource("data", chunk_digest("data", content).hex(), 0, content)
        path = self.folder / f"made-{self.numbered}"
        made = write_bundle(path, draft, [chunk], self.served.site.key)
        return Outgoing(made, path.rename(self.folder / f"{made}.pulk"))

    def knows(self, bundle: BundleId) -> bool:
        """Return whether central merged a bundle."""
        status, _ = self.served.ask("GET", f"/exchange/{SITE}/{bundle}/disposition")
        return status == 200
