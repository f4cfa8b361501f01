"""A small cast for the tests of wire and trust: an authority, two sites, and a scrap workshop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bundle import canonical
from bundle.ids import Epoch, StreamId
from bundle.trust import certificate, signed, trust_file
from bundle.trust.keys import MemoryKey, Signer
from bundle.trust.signed import Signature
from bundle.trust.trust_file import Trust, TrustView
from bundle.wire import header, manifest
from bundle.wire.header import Header
from bundle.wire.manifest import Kind, ManifestDraft
from bundle.wire.preauth import bundle_type, pae
from bundle.wire.read import OpenBundle, open_bundle
from bundle.wire.write import ChunkSource, write_bundle

EVERY_KIND = frozenset(Kind)


def key(number: int) -> MemoryKey:
    """A key that is the same in every run."""
    return MemoryKey(number.to_bytes(32, "big"))


@dataclass(frozen=True)
class Parts:
    """A bundle taken apart; `whole` puts it together again without judging anything."""

    kind: Kind
    manifest: bytes
    signatures: bytes
    rows: tuple[tuple[int, int, bytes], ...]
    bodies: tuple[bytes, ...]

    def whole(self, **header_fields: Any) -> bytes:
        sizes = (len(self.manifest), len(self.signatures), len(self.rows))
        table = header.pack_table(self.rows)  # type: ignore[arg-type]
        tail = self.manifest + self.signatures + table + b"".join(self.bodies)
        head = Header(1, 1, self.kind, *sizes, total_bytes=header.HEADER_BYTES + len(tail))
        return header.pack(replace(head, **header_fields)) + tail


class Cast:
    """Keys of every role and what they make."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root, self.central, self.central_next, self.registrar = (key(n) for n in range(1, 5))
        self.site, self.other_site, self.user, self.stranger = (key(n) for n in range(5, 9))
        self.trust = Trust(
            1,
            (self.root.public,),
            1,
            (self.central.public, self.central_next.public),
            (self.registrar.public,),
        )
        self.trust_bytes = trust_file.encode(self.trust, [self.root])
        self.view = TrustView(self.trust, frozenset({self.user.public}))
        self.certificate = self.certify("north", self.site)
        self.other_certificate = self.certify("south", self.other_site)

    def certify(self, site: str, signer: Signer) -> bytes:
        return certificate.issue(
            certificate.Certificate(site, signer.public, 1, 7),
            self.registrar,  # type: ignore[arg-type]
        )

    def draft(self, kind: Kind = Kind.RESULT, **fields: Any) -> ManifestDraft:
        given: dict[str, Any] = {
            "kind": kind,
            "stream": StreamId(b"s" * 16),
            "sequence": 3,
            "created_us": 1_700_000_000_000_000,
        }
        if kind in manifest.CENTRALS_OWN:
            given |= {"producer": "central", "epoch": Epoch(1, b"e" * 16), "audience": "north"}
        elif kind in manifest.SITES_OWN:
            given |= {"producer": "north", "certificate": self.certificate, "audience": "central"}
        else:
            given |= {"producer": "somebody"}
        return ManifestDraft(**(given | fields))

    def pack(
        self,
        chunks: Iterable[ChunkSource] = (),
        draft: ManifestDraft | None = None,
        signer: Signer | None = None,
        **how: Any,
    ) -> Path:
        draft = draft or self.draft()
        if signer is None:
            signer = self.central if draft.kind in manifest.CENTRALS_OWN else self.site
        path = self.folder / f"{len(list(self.folder.iterdir()))}.pulk"
        write_bundle(path, draft, chunks, signer, **how)
        return path

    def open(self, path: Path, **how: Any) -> OpenBundle:
        trust = how.pop("trust", self.view)
        return open_bundle(path, trust, **({"audience": None, "kinds": EVERY_KIND} | how))

    def take_apart(self, path: Path) -> Parts:
        raw = path.read_bytes()
        head = header.unpack(raw[: header.HEADER_BYTES], len(raw))
        manifest_ends = header.HEADER_BYTES + head.manifest_bytes
        manifest_bytes = raw[header.HEADER_BYTES : manifest_ends]
        entries = manifest.decode(manifest_bytes).chunks
        table = raw[head.table_at : head.bodies_at]
        places = header.unpack_table(table, head, entries)
        return Parts(
            head.kind,
            manifest_bytes,
            raw[manifest_ends : head.table_at],
            tuple((one.codec, one.stored_bytes, one.digest) for one in places),
            tuple(raw[one.at : one.at + one.stored_bytes] for one in places),
        )

    def scrap(self, raw: bytes) -> Path:
        path = self.folder / "scrap.pulk"
        path.write_bytes(raw)
        return path

    def signatures(
        self, kind: Kind, manifest_bytes: bytes, *signers: tuple[Signer, bytes]
    ) -> bytes:
        message = pae(bundle_type(kind), manifest_bytes)
        rows = [Signature(one.public, one.sign(message), proof) for one, proof in signers]
        return canonical.encode(signed.signatures_to_wire(rows))

    def resign(self, parts: Parts, value: dict[str, Any]) -> Parts:
        """Sign a manifest of any content with the site's right key."""
        raw = canonical.encode(value)
        signatures = self.signatures(parts.kind, raw, (self.site, self.certificate))
        return replace(parts, manifest=raw, signatures=signatures)


@pytest.fixture
def cast(tmp_path: Path) -> Cast:
    folder = tmp_path / "bundles"
    folder.mkdir()
    return Cast(folder)


@pytest.fixture
def make_key() -> Callable[[int], MemoryKey]:
    return key
