"""What the published vectors are put together from: fixed keys, and files made byte by byte.

THE PRIVATE SEEDS HERE ARE PUBLISHED. They are for tests only and protect nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from bundle import canonical
from bundle.digest import chunk_digest
from bundle.ids import DatasetId, Epoch, StreamId
from bundle.intervals import IntervalSet
from bundle.limits import MANIFEST_LIMITS
from bundle.trust import certificate, revocation, signed, trust_file
from bundle.trust.keys import MemoryKey, Signer
from bundle.trust.signed import Signature
from bundle.trust.trust_file import Revocation, Trust
from bundle.wire import header
from bundle.wire import manifest as manifests
from bundle.wire.header import NO_DIGEST, Codec, Header
from bundle.wire.manifest import CENTRALS_OWN, SITES_OWN, ChunkEntry, Kind, ManifestDraft
from bundle.wire.preauth import bundle_type, pae

ROLES = (
    "root-1", "root-2", "root-3", "central-1", "central-2", "central-3", "registrar", "north",
    "south", "user", "stranger", "pilot",
)  # fmt: skip


def seed_of(role: str) -> bytes:
    """Return the published private seed of a role: 1 to 12."""
    return (ROLES.index(role) + 1).to_bytes(32, "big")


KEYS = {role: MemoryKey(seed_of(role)) for role in ROLES}
SITES_STREAM, CENTRALS_STREAM = StreamId(b"north's stream--"), StreamId(b"central's stream")
EPOCH = Epoch(1, b"epoch's 16 bytes")
DATASET = DatasetId("mfrggzdfmztwq2lknnwg23tpoa")
CREATED_US = 1_790_000_000_000_000
KEY_FILE = canonical.encode({"role": "site", "seed": bytes(32)})  # the content of a key file
ROOTS = tuple(KEYS[f"root-{n}"].public for n in (1, 2, 3))

Proof = tuple[Signer, bytes]  # a key, and the certificate beside its signature


def certify(site: str, key: bytes, registrar: Signer = KEYS["registrar"]) -> bytes:
    """Return a certificate; the key is not looked at."""
    body = canonical.encode({"site": site, "key": key, "serial": 1, "issued_us": CREATED_US})
    return signed.encode(signed.sign(certificate.CERTIFICATE_TYPE, body, [registrar]))


CERTIFICATES = {site: certify(site, KEYS[site].public) for site in ("north", "south")}


def trust_version(
    version: int, centrals: Iterable[str], *roots: str, kept: Iterable[Revocation] = ()
) -> bytes:
    """Return a trust file: two of three roots, some central keys, one registrar."""
    keys = tuple(KEYS[name].public for name in centrals)
    trust = Trust(version, ROOTS, 2, keys, (KEYS["registrar"].public,), tuple(kept))
    return trust_file.encode(trust, [KEYS[name] for name in roots])


def kept_of_north(last: int, identity: bytes) -> Revocation:
    """Return the revocation of north's key that keeps numbers 0 to `last`, the last by its id."""
    numbers = IntervalSet.of(range(last + 1))
    kept = revocation.Kept(SITES_STREAM, numbers, identity)
    return Revocation(KEYS["north"].public, (kept,))


def run_length(raw: bytes) -> bytes:
    """Return a zstd frame for bytes that are all alike, 1 to 65,791 of them; no library needed."""
    assert len(set(raw)) == 1
    if len(raw) < 256:
        start = b"\x20" + len(raw).to_bytes(1, "little")
    else:
        start = b"\x60" + (len(raw) - 256).to_bytes(2, "little")
    return b"\x28\xb5\x2f\xfd" + start + (len(raw) << 3 | 3).to_bytes(3, "little") + raw[:1]


@dataclass(frozen=True)
class Body:
    """A chunk and its stored form: the raw bytes where `stored` is None."""

    kind: str
    name: str
    raw: bytes
    records: int = 1
    stored: bytes | None = None
    codec: int = Codec.STORED
    lie: dict[str, Any] = field(default_factory=dict)  # fields of the manifest's row
    digest: bytes | None = None  # of the table's row

    @classmethod
    def zstd(cls, kind: str, name: str, raw: bytes, frame: bytes, **rest: Any) -> Body:
        return cls(kind, name, raw, stored=frame, codec=Codec.ZSTD, **rest)

    def absent(self) -> Body:
        """The same chunk in a copy that comes without it."""
        return replace(self, stored=b"", codec=Codec.ABSENT, digest=NO_DIGEST)

    def entry(self) -> ChunkEntry:
        whole = chunk_digest(self.kind, self.raw)
        row = ChunkEntry(self.kind, self.name, len(self.raw), self.records, whole)
        return replace(row, **self.lie)

    def row(self) -> tuple[int, int, bytes]:
        body = self.raw if self.stored is None else self.stored
        digest = hashlib.sha256(body).digest() if self.digest is None else self.digest
        return self.codec, len(body), digest


def proofs(kind: Kind) -> list[Proof]:
    """Return by whom a kind is signed."""
    if kind in SITES_OWN:
        return [(KEYS["north"], CERTIFICATES["north"])]
    return [(KEYS["user" if kind is Kind.SUBMISSION else "central-1"], b"")]


def draft(kind: Kind, **fields: Any) -> ManifestDraft:
    """Return a manifest of a kind without chunks."""
    known: dict[str, Any] = {"kind": kind, "sequence": 3, "created_us": CREATED_US}
    if kind in SITES_OWN:
        known |= {"producer": "north", "stream": SITES_STREAM, "audience": "central"}
        known |= {"certificate": CERTIFICATES["north"]}
    else:
        known |= {"producer": "central", "stream": CENTRALS_STREAM, "audience": "north"}
    if kind in CENTRALS_OWN:
        known |= {"epoch": EPOCH, "commit": 7}
    if kind is Kind.SUBMISSION:
        known |= {"producer": KEYS["user"].public.hex(), "audience": "central"}
    return ManifestDraft(**(known | fields))


@dataclass(frozen=True)
class Made:
    """A bundle file, and the parts that it was put together from."""

    kind: Kind
    manifest: bytes
    signatures: bytes
    bodies: tuple[Body, ...]
    head: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return hashlib.sha256(self.manifest).hexdigest()

    def file(self) -> bytes:
        table = header.pack_table(body.row() for body in self.bodies)  # type: ignore[misc]
        stored = (one.raw if one.stored is None else one.stored for one in self.bodies)
        tail = self.manifest + self.signatures + table + b"".join(stored)
        sizes = (len(self.manifest), len(self.signatures), len(self.bodies))
        head = Header(1, 1, self.kind, *sizes, header.HEADER_BYTES + len(tail))
        return header.pack(replace(head, **self.head)) + tail

    def with_bodies(self, *bodies: Body) -> Made:
        """Return a copy of the same bundle in other stored forms."""
        return replace(self, bodies=bodies)

    def value(self) -> dict[str, Any]:
        """Return the manifest as plain values."""
        return dict(canonical.decode(self.manifest, MANIFEST_LIMITS))


def make(plan: ManifestDraft, *bodies: Body, by: list[Proof] | None = None) -> Made:
    """Make a bundle, signed by whom its kind is signed by unless told otherwise."""
    raw = manifests.encode(plan.with_chunks(tuple(body.entry() for body in bodies)))
    return sign(Made(plan.kind, raw, b"", bodies), by)


def sign(made: Made, by: list[Proof] | None = None, kind: str = "") -> Made:
    """Sign a manifest of any content, over the payload type of its kind or of another."""
    message = pae(bundle_type(kind or made.kind), made.manifest)
    rows = [
        Signature(one.public, one.sign(message), proof) for one, proof in by or proofs(made.kind)
    ]
    return replace(made, signatures=canonical.encode(signed.signatures_to_wire(rows)))


def edited(made: Made, **fields: Any) -> Made:
    """Return the bundle with fields of its manifest set, or dropped where None, signed again."""
    value = {name: one for name, one in (made.value() | fields).items() if one is not None}
    return sign(replace(made, manifest=canonical.encode(value)))
