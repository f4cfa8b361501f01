"""The trust file: which keys may sign what, signed by root keys, version after version.

A reader that holds version N accepts version N+1 only, signed by the thresholds of both, counted
over different public keys. A reader that was away for long takes a chain of versions at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bundle import canonical, shape
from bundle.ids import SiteName, StreamId
from bundle.intervals import IntervalSet
from bundle.limits import SMALL_LIMITS
from bundle.trust import certificate, signed
from bundle.trust.errors import MalformedTrust, ThresholdNotMet, WrongTrustVersion
from bundle.trust.keys import Role, Signer, check_public
from bundle.wire.preauth import TRUST_TYPE


@dataclass(frozen=True, slots=True)
class Kept:
    """Bundles of a revoked key that still count: sequences of a stream up to a known head."""

    stream: StreamId
    sequences: IntervalSet
    head: bytes  # 32 bytes: id of the last kept bundle


@dataclass(frozen=True, slots=True)
class Revocation:
    """A site key that is no longer trusted, and what is kept of it."""

    key: bytes
    kept: tuple[Kept, ...] = ()

    def keeps(self, stream: StreamId, sequence: int) -> bool:
        """Return whether a bundle of that place still counts."""
        return any(one.stream == stream and sequence in one.sequences for one in self.kept)


@dataclass(frozen=True, slots=True)
class Trust:
    """One version of the trust file. `centrals` holds the current key and the next ones."""

    version: int
    roots: tuple[bytes, ...]
    threshold: int
    centrals: tuple[bytes, ...]
    registrars: tuple[bytes, ...]
    revocations: tuple[Revocation, ...] = ()
    raw: bytes = b""  # the signed bytes it was read from


@dataclass(frozen=True, slots=True)
class TrustView:
    """A trust file and the users known here, as a verifier sees them."""

    trust: Trust
    users: frozenset[bytes] = frozenset()

    @classmethod
    def load(cls, path: Path) -> TrustView:
        """Read the trust file of this installation. Raises TrustRefused."""
        return cls(load(path))

    @property
    def version(self) -> int:
        """The version of the trust file."""
        return self.trust.version

    def central_keys(self) -> frozenset[bytes]:
        """Return the keys that may sign for central: the current one and those published ahead."""
        return frozenset(self.trust.centrals)

    def site_of(self, raw: bytes, *, where: str = "") -> tuple[SiteName, bytes]:
        """Return site and public key of a certificate; revocation is not looked at.

        Raises UnknownRegistrar, CertificateRefused, WeakKey.
        """
        found = certificate.verify(raw, self.trust, where=where)
        return found.site, found.key

    def revocation_of(self, key: bytes) -> Revocation | None:
        """Return the revocation of a site's key, or None where it is in force."""
        return next((one for one in self.trust.revocations if one.key == key), None)

    def role_of(self, key: bytes) -> Role | None:
        """Return the role in which the trust file lists a key; a site's is in its certificate."""
        for role, keys in (
            (Role.ROOT, self.trust.roots),
            (Role.CENTRAL, self.trust.centrals),
            (Role.REGISTRAR, self.trust.registrars),
            (Role.USER, self.users),
        ):
            if key in keys:
                return role
        return None


def encode(trust: Trust, roots: Iterable[Signer]) -> bytes:
    """Return the bytes of a trust file signed by the given root keys. Raises MalformedTrust."""
    _check(trust, "")
    return signed.encode(signed.sign(TRUST_TYPE, _body(trust), roots))


def cosign(raw: bytes, root: Signer) -> bytes:
    """Return the trust file with one more signature over the same body."""
    record = signed.decode(raw, "trust file")
    added = signed.sign(TRUST_TYPE, record.body, [root]).signatures
    others = tuple(one for one in record.signatures if one.key != root.public)
    return signed.encode(replace(record, signatures=others + added))


def verify(raw: bytes, *, where: str = "") -> Trust:
    """Read a trust file that its own roots signed; compare the roots' fingerprint before use.

    Raises:
        MalformedTrust: not well-formed.
        WeakKey: it names a key that must not be trusted.
        ThresholdNotMet: too few of its own root keys signed it.
    """
    record = signed.decode(raw, "trust file", where=where)
    trust = replace(_read(record.body, where), raw=raw)
    _require(record, trust, trust, "new", where)
    return trust


def verify_next(current: Trust, raw: bytes, *, where: str = "") -> Trust:
    """Read the version that follows `current`, signed by the thresholds of both.

    Raises:
        WrongTrustVersion: it is not the version right after the current one.
        MalformedTrust, WeakKey, ThresholdNotMet: as `verify`.
    """
    trust = verify(raw, where=where)
    if trust.version != current.version + 1:
        raise WrongTrustVersion(where=where, found=trust.version, current=current.version)
    _require(signed.decode(raw, "trust file"), current, trust, "current", where)
    return trust


def encode_chain(files: Iterable[bytes]) -> bytes:
    """Return what a manifest carries as `trust`: trust files in ascending order of version."""
    return canonical.encode(list(files))


def advance(current: Trust, chain: bytes, *, where: str = "") -> Trust:
    """Follow a chain as far as it goes; versions already known are passed over.

    Raises TrustRefused where a version is missing, forged or malformed; nothing is half taken.
    """
    try:
        value = canonical.decode(chain, SMALL_LIMITS, where=where)
        rows = shape.Reader.of(value, "trust chain")
        files = [rows.bytes(place) for place in range(len(rows.value))]
        versions = [(_read(signed.decode(one, "trust file").body, where), one) for one in files]
    except (canonical.NotCanonical, shape.WrongShape) as error:
        raise MalformedTrust(where=where, part="trust chain", reason=error.text()) from error
    for trust, raw in versions:
        if trust.version > current.version:
            current = verify_next(current, raw, where=where)
    return current


def load(path: Path) -> Trust:
    """Read the trust file of this installation. Raises TrustRefused."""
    try:
        with path.open("rb") as file:
            raw = file.read(SMALL_LIMITS.bytes_max + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise MalformedTrust(where=str(path), part="trust file", reason=reason) from error
    return verify(raw, where=str(path))


def _require(record: signed.Signed, by: Trust, trust: Trust, whose: str, where: str) -> None:
    valid = len(record.signers(TRUST_TYPE, by.roots))
    if valid < by.threshold:
        raise ThresholdNotMet(
            where=where, version=trust.version, valid=valid, whose=whose, threshold=by.threshold
        )


def _body(trust: Trust) -> bytes:
    return canonical.encode(
        {
            "version": trust.version,
            "roots": list(trust.roots),
            "threshold": trust.threshold,
            "centrals": list(trust.centrals),
            "registrars": list(trust.registrars),
            "revocations": [
                [one.key, [[kept.stream, kept.sequences.to_wire(), kept.head] for kept in one.kept]]
                for one in trust.revocations
            ],
        }
    )


def _read(body: bytes, where: str) -> Trust:
    try:
        value = shape.Reader.of(canonical.decode(body, SMALL_LIMITS), "trust")
        trust = Trust(
            version=value.count("version"),
            roots=_keys(value, "roots"),
            threshold=value.count("threshold"),
            centrals=_keys(value, "centrals"),
            registrars=_keys(value, "registrars"),
            revocations=tuple(_revocation(row) for row in value.readers("revocations")),
        )
    except (canonical.NotCanonical, shape.WrongShape) as error:
        raise MalformedTrust(where=where, part="trust file", reason=error.text()) from error
    _check(trust, where)
    if _body(trust) != body:
        reason = "it has fields or forms unknown to this version"
        raise MalformedTrust(where=where, part="trust file", reason=reason)
    return trust


def _keys(value: shape.Reader, name: str) -> tuple[bytes, ...]:
    rows = shape.Reader(value.rows(name), f"{value.where}.{name}")
    return tuple(rows.bytes(place, 32) for place in range(len(rows.value)))


def _revocation(row: shape.Reader) -> Revocation:
    def kept(one: shape.Reader) -> Kept:
        runs = [(run.count(0), run.count(1)) for run in one.readers(1)]
        return Kept(StreamId(one.bytes(0, 16)), IntervalSet.from_wire(runs), one.bytes(2, 32))

    return Revocation(row.bytes(0, 32), tuple(kept(one) for one in row.readers(1)))


def _check(trust: Trust, where: str) -> None:
    keys: list[Any] = [*trust.roots, *trust.centrals, *trust.registrars]
    for key in keys:
        check_public(key, where=where)
    reason = ""
    if len(set(keys)) != len(keys):
        reason = "a key is listed twice or has two roles"
    elif not 1 <= trust.threshold <= len(trust.roots):
        reason = f"the threshold is {trust.threshold} of {len(trust.roots)} root keys"
    elif not trust.centrals or not trust.registrars or trust.version < 1:
        reason = "it needs a version from 1 on, a central key and a registrar"
    if reason:
        raise MalformedTrust(where=where, part="trust file", reason=reason)
