"""A signed record: raw body bytes and the signatures over them, for all that trust rests on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bundle import canonical, shape
from bundle.limits import SIGNATURES_MAX, SMALL_LIMITS
from bundle.trust.errors import MalformedTrust
from bundle.trust.keys import PUBLIC_BYTES, SIGNATURE_BYTES, Signer, verify
from bundle.wire.preauth import pae


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature; `certificate` only where a site signs a bundle."""

    key: bytes  # 32 bytes, public
    signature: bytes  # 64 bytes
    certificate: bytes = b""


@dataclass(frozen=True, slots=True)
class Signed:
    """Raw bytes and who signed them."""

    body: bytes
    signatures: tuple[Signature, ...]

    def signers(self, payload_type: str, keys: Iterable[bytes]) -> frozenset[bytes]:
        """Return which of the keys signed; one key counts once, however often it signed."""
        wanted, message = frozenset(keys), pae(payload_type, self.body)
        return frozenset(
            one.key
            for one in self.signatures
            if one.key in wanted and verify(one.key, message, one.signature)
        )


def sign(payload_type: str, body: bytes, signers: Iterable[Signer]) -> Signed:
    """Sign a body with every signer."""
    message = pae(payload_type, body)
    return Signed(body, tuple(Signature(one.public, one.sign(message)) for one in signers))


def encode(signed: Signed) -> bytes:
    """Return the bytes of a signed record: {body, signatures}."""
    rows = signatures_to_wire(signed.signatures)
    return canonical.encode({"body": signed.body, "signatures": rows})


def decode(raw: bytes, part: str, *, where: str = "", least: int = 1) -> Signed:
    """Read a signed record of at least so many signatures, none checked. Raises MalformedTrust."""
    try:
        value = shape.Reader.of(canonical.decode(raw, SMALL_LIMITS, where=where), part)
        if value.fields() != {"body", "signatures"}:
            raise shape.WrongShape(where=part, expected="body and signatures", found="other fields")
        return Signed(value.bytes("body"), signatures_from_wire(value, least))
    except (canonical.NotCanonical, shape.WrongShape) as error:
        raise MalformedTrust(where=where, part=part, reason=error.text()) from error


def signatures_to_wire(signatures: Iterable[Signature]) -> list[dict[str, Any]]:
    """Return signatures as plain values: maps {key, signature} and, of a site, certificate."""
    return [
        {"key": one.key, "signature": one.signature}
        | ({"certificate": one.certificate} if one.certificate else {})
        for one in signatures
    ]


def signatures_from_wire(value: shape.Reader, least: int = 1) -> tuple[Signature, ...]:
    """Read the array `signatures` of a map. Raises WrongShape, also for any field unknown here."""
    rows = list(value.readers("signatures"))
    where = f"{value.where}.signatures"
    if not least <= len(rows) <= SIGNATURES_MAX:
        expected = f"{least} to {SIGNATURES_MAX} signatures"
        raise shape.WrongShape(where=where, expected=expected, found=str(len(rows)))
    return tuple(_signature(row) for row in rows)


def _signature(row: shape.Reader) -> Signature:
    # No field beside these: a suite or an algorithm to choose would be something to downgrade.
    if row.fields() not in ({"key", "signature"}, {"key", "signature", "certificate"}):
        raise shape.WrongShape(
            where=row.where, expected="key, signature, certificate", found="other fields"
        )
    certificate = row.bytes("certificate") if row.has("certificate") else b""
    if "certificate" in row.value and not certificate:
        raise shape.WrongShape(where=row.where, expected="a certificate or none", found="empty")
    key, signature = row.bytes("key", PUBLIC_BYTES), row.bytes("signature", SIGNATURE_BYTES)
    return Signature(key, signature, certificate)
