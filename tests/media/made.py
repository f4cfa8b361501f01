"""Small signed bundles to carry."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from bundle.ids import BundleId, StreamId
from bundle.trust import quickstart
from bundle.trust.trust_file import TrustView
from bundle.wire.manifest import Kind, ManifestDraft
from bundle.wire.write import ChunkSource, write_bundle

STREAM = StreamId(b"s" * 16)


@dataclass(frozen=True, slots=True)
class Press:
    """Makes bundles in a folder, signed by an authority of its own."""

    root: Path
    authority: quickstart.Authority

    @classmethod
    def at(cls, root: Path) -> Press:
        """Make the authority and the folder `goods`."""
        (root / "goods").mkdir(parents=True)
        return cls(root, quickstart.make_authority(root / "root", root / "central"))

    @property
    def goods(self) -> Path:
        """Where the bundles lie."""
        return self.root / "goods"

    @property
    def trust_file(self) -> Path:
        """The trust file."""
        return self.root / "central" / quickstart.TRUST_FILE

    def trust(self) -> TrustView:
        """The trust file, read."""
        return TrustView.load(self.trust_file)

    def make(
        self,
        sequence: int = 0,
        chunks: int = 3,
        chunk_bytes: int = 1000,
        *,
        kind: Kind = Kind.DATA,
        previous: str = "",
        stream: StreamId = STREAM,
        salt: int = 0,
    ) -> Path:
        """Write a bundle of chunks that do not compress, named by its id."""
        draw = random.Random(f"{sequence} {salt}")
        draft = ManifestDraft(
            kind=kind,
            producer="central",
            stream=stream,
            sequence=sequence,
            created_us=1,
            previous=bytes.fromhex(previous),
        )
        sources = [
            ChunkSource("extra", f"{number}", 0, draw.randbytes(chunk_bytes))
            for number in range(chunks)
        ]
        path = self.goods / "unnamed"
        made: BundleId = write_bundle(path, draft, sources, self.authority.central)
        return path.rename(self.goods / f"{made}.pulk")
