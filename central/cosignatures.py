"""Users' co-signatures of dataset documents: checked, kept by document, sent along with work.

They are kept by the document's digest, for that is what they are over: two datasets of one document
share them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bundle.limits import SIGNATURES_MAX
from bundle.records.report import Report
from bundle.trust import cosignature
from bundle.trust.cosignature import CHUNK, Cosignature
from bundle.trust.errors import TrustRefused
from bundle.wire.read import OpenBundle
from bundle.wire.write import ChunkSource
from central.errors import MalformedContent
from central.workings import Workings


@dataclass(frozen=True, slots=True)
class Demand:
    """How many of which keys a site wants to have co-signed what runs there."""

    required: int = 0
    keys: frozenset[bytes] = frozenset()

    @classmethod
    def of_report(cls, report: Report | None) -> Demand:
        """Return what a site reported; nothing where it says nothing that can be read."""
        words = dict(report.profile).get(cosignature.DEMAND, "").split() if report else []
        try:
            return cls(int(words[0]), frozenset(map(bytes.fromhex, words[1:])))
        except (ValueError, IndexError):
            return cls()

    def is_met(self, workings: Workings, document: bytes) -> bool:
        """Return whether a document, by its digest, may run there."""
        if self.required <= 0:
            return True
        rows = workings.store.datasets.cosignatures(document)
        return len(self.keys & {one.key for one in rows}) >= self.required


NO_DEMAND = Demand()


def check(document: bytes, raw: bytes) -> tuple[Cosignature, ...]:
    """Return what a submission brings for a document of that digest; nothing where `raw` is empty.

    Raises CosignatureRefused, WeakKey: malformed, forged, or over another document.
    """
    if not raw:
        return ()
    return (cosignature.require(cosignature.read(raw, where=CHUNK), document, where=CHUNK),)


def read(bundle: OpenBundle) -> list[Cosignature]:
    """Return those that a bundle brings. Raises MalformedContent, BundleRefused."""
    try:
        return [
            cosignature.read(bundle.chunk(place), where=str(bundle.path))
            for place in bundle.find(CHUNK)
        ]
    except TrustRefused as error:
        raise MalformedContent(where=str(bundle.path), reason=error.text()) from error


def keep(workings: Workings, found: Iterable[Cosignature]) -> None:
    """Keep verified co-signatures; known ones change nothing. Inside a transaction."""
    for one in found:
        workings.store.datasets.add_cosignatures(one.digest, one.signatures)


def cosignature_chunks(
    workings: Workings, documents: Iterable[bytes], demand: Demand = NO_DEMAND
) -> list[ChunkSource]:
    """Return a chunk for each document (by digest) that has co-signatures; for a work bundle.

    Anybody may co-sign, and only so many fit: those that the site demands come first.
    """
    chunks = []
    for document in documents:
        known = workings.store.datasets.cosignatures(document)
        rows = sorted(known, key=lambda row: row.key not in demand.keys)[:SIGNATURES_MAX]
        if rows:
            chunks.append(chunk(cosignature.of_rows(document, rows)))
    return chunks


def chunk(one: Cosignature) -> ChunkSource:
    """Return the chunk of a co-signature; its name is the document's digest."""
    records = len(one.signatures)
    return ChunkSource(CHUNK, one.digest.hex(), records, cosignature.encode(one))
