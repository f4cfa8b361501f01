"""The co-signature of a dataset: users' word that they want exactly this document to run.

A signed record whose body is the 32 bytes digest of the document. A site that demands it needs not
trust central alone. Reading refuses a record with any signature that does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bundle.ids import DIGEST_BYTES
from bundle.limits import SIGNATURES_MAX
from bundle.trust import signed
from bundle.trust.errors import MalformedTrust, TrustRefused
from bundle.trust.keys import Signer, check_public, verify
from bundle.trust.signed import Signature, Signed
from bundle.wire.preauth import DATASET_TYPE, pae

CHUNK = "cosignature"  # kind of its chunk, whose name is the document's digest in hex
DEMAND = "cosignatures"  # a report's profile: how many of which keys (hex), between blanks


class CosignatureRefused(TrustRefused):
    """A co-signature is damaged, forged, or over another dataset document than the one given."""

    code = "cosignature-refused"
    what = "the co-signature: {reason}"
    remedy = "co-sign the document as it is now (`pulk dataset cosign`); nothing was changed"


@dataclass(frozen=True, slots=True)
class Cosignature:
    """Who co-signed a document: valid signatures, one for each key, ascending by key."""

    digest: bytes  # 32 bytes, of the dataset document
    signatures: tuple[Signature, ...]

    @property
    def keys(self) -> frozenset[bytes]:
        """The public keys that co-signed."""
        return frozenset(one.key for one in self.signatures)


def make(digest: bytes, signers: Iterable[Signer]) -> Cosignature:
    """Co-sign a document's digest (32 bytes) with every signer. Raises CosignatureRefused."""
    return _checked(signed.sign(DATASET_TYPE, digest, signers), "")


def encode(cosignature: Cosignature) -> bytes:
    """Return the bytes of the signed record: those of a file and of a chunk."""
    return signed.encode(Signed(cosignature.digest, cosignature.signatures))


def read(raw: bytes, *, where: str = "") -> Cosignature:
    """Read a record and verify every signature in it; a key that signed twice counts once.

    Raises:
        CosignatureRefused: malformed, not over a digest, or a signature does not hold.
        WeakKey: a key in it must not be trusted.
    """
    try:
        record = signed.decode(raw, "co-signature", where=where)
    except MalformedTrust as error:
        raise CosignatureRefused(where=where, reason=str(error.fields["reason"])) from error
    return _checked(record, where)


def join(several: Iterable[Cosignature], *, where: str = "") -> Cosignature:
    """Return what several co-signatures of one document say together; there is at least one.

    Raises CosignatureRefused where they are of different documents or too many.
    """
    found = tuple(several)
    if len({one.digest for one in found}) != 1:
        raise CosignatureRefused(where=where, reason="these are of different documents")
    by_key = {row.key: row for one in found for row in one.signatures}
    return of_rows(found[0].digest, by_key.values(), where=where)


def of_rows(digest: bytes, rows: Iterable[Signature], *, where: str = "") -> Cosignature:
    """Return the co-signature that verified signatures make. Raises CosignatureRefused."""
    sorted_rows = tuple(sorted(rows, key=lambda row: row.key))
    if not 1 <= len(sorted_rows) <= SIGNATURES_MAX:
        reason = f"{len(sorted_rows)} keys co-signed it, at most {SIGNATURES_MAX}"
        raise CosignatureRefused(where=where, reason=reason)
    return Cosignature(digest, sorted_rows)


def require(cosignature: Cosignature, digest: bytes, *, where: str = "") -> Cosignature:
    """Return it if it is over that document. Raises CosignatureRefused."""
    if cosignature.digest != digest:
        reason = f"it is over document {cosignature.digest.hex()}, not {digest.hex()}"
        raise CosignatureRefused(where=where, reason=reason)
    return cosignature


def _checked(record: Signed, where: str) -> Cosignature:
    if len(record.body) != DIGEST_BYTES:
        reason = f"it is over {len(record.body)} bytes, not over a digest"
        raise CosignatureRefused(where=where, reason=reason)
    message = pae(DATASET_TYPE, record.body)
    for one in record.signatures:
        check_public(one.key, where=where)
        if one.certificate:
            raise CosignatureRefused(where=where, reason="a certificate stands in it")
        if not verify(one.key, message, one.signature):
            reason = f"the signature by {one.key.hex()} does not hold"
            raise CosignatureRefused(where=where, reason=reason)
    by_key = {one.key: one for one in record.signatures}
    return of_rows(record.body, by_key.values(), where=where)
