"""The trust file: which keys may sign what, signed by root keys, version after version.

A reader that holds version N accepts version N+1 only, signed by the thresholds of both, counted
over different public keys. A reader that was away for long takes a chain of versions at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bundle import canonical, shape
from bundle.ids import SiteName, StreamId
from bundle.limits import MANIFEST_BYTES_MAX, SMALL_LIMITS, ParseLimits
from bundle.trust import certificate, revocation, signed
from bundle.trust.errors import ForkedTrust, MalformedTrust, ThresholdNotMet, WrongTrustVersion
from bundle.trust.keys import Role, Signer, check_public
from bundle.trust.revocation import Kept, Revocation
from bundle.wire.preauth import TRUST_TYPE

CHAIN_LIMITS = ParseLimits(MANIFEST_BYTES_MAX, 4096)  # it travels in a manifest


@dataclass(frozen=True, slots=True)
class Trust:
    """One version of the trust file.

    `centrals` and `registrars` are in the order of their publication and keep retired keys: what
    these signed still counts until they are revoked. Of the central keys in force the last is the
    next one, published ahead, and the one before it is the current one.
    """

    version: int
    roots: tuple[bytes, ...]
    threshold: int
    centrals: tuple[bytes, ...]
    registrars: tuple[bytes, ...]
    revocations: tuple[Revocation, ...] = ()
    raw: bytes = b""  # the signed bytes it was read from

    def revocation_of(self, key: bytes) -> Revocation | None:
        """Return the revocation of a key, or None where it is in force or unknown."""
        return next((one for one in self.revocations if one.key == key), None)

    def centrals_in_force(self) -> tuple[bytes, ...]:
        """Return the central keys that are not revoked, oldest first."""
        return tuple(key for key in self.centrals if self.revocation_of(key) is None)

    def registrars_in_force(self) -> tuple[bytes, ...]:
        """Return the registrars' keys that are not revoked, oldest first."""
        return tuple(key for key in self.registrars if self.revocation_of(key) is None)

    @property
    def current_central(self) -> bytes:
        """The key that central signs with."""
        return self.centrals_in_force()[-2:][0]

    @property
    def next_central(self) -> bytes | None:
        """The key that was published ahead for the next rotation."""
        return self.centrals_in_force()[-1] if len(self.centrals_in_force()) > 1 else None

    @property
    def current_registrar(self) -> bytes:
        """The key that signs certificates."""
        return self.registrars_in_force()[-1]

    def says_same(self, other: Trust) -> bool:
        """Return whether both say the same, whoever signed them."""
        return replace(self, raw=b"") == replace(other, raw=b"")


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
        """Return the keys that may sign for central: all that are not revoked."""
        return frozenset(self.trust.centrals_in_force())

    def site_of(self, raw: bytes, *, where: str = "") -> tuple[SiteName, bytes]:
        """Return site and public key of a certificate; revocation is not looked at.

        Raises UnknownRegistrar, CertificateRefused, WeakKey.
        """
        found = certificate.verify(raw, self.trust, where=where)
        return found.site, found.key

    def revocation_of(self, key: bytes) -> Revocation | None:
        """Return the revocation of a key, or None where it is in force or unknown."""
        return self.trust.revocation_of(key)

    def revoked_registrar(self, raw: bytes) -> bytes | None:
        """Return the revoked key that a certificate rests on; None where another one signed it."""
        return self._refusing(raw, lambda _: False)

    def revoked_key(
        self, signer: bytes, raw: bytes, stream: StreamId, sequence: int, bundle: bytes
    ) -> bytes | None:
        """Return the revoked key for whose sake a bundle does not count; None where it counts.

        Args:
            signer: the key that signed the bundle.
            raw: the certificate beside its signature, empty where there is none.
            stream, sequence, bundle: the bundle's place and its id, 32 bytes.
        """
        found = self.revocation_of(signer)
        if found is not None and not found.keeps(stream, sequence, bundle):
            return signer
        return self._refusing(raw, lambda one: one.keeps(stream, sequence, bundle)) if raw else None

    def _refusing(self, raw: bytes, is_kept: Callable[[Revocation], bool]) -> bytes | None:
        """Return a certificate's registrar that is revoked and does not keep, if all are so."""
        if not self.trust.revocations:
            return None
        signers = sorted(certificate.registrars(raw, self.trust))
        for key in signers:
            found = self.revocation_of(key)
            if found is None or is_kept(found):
                return None
        return signers[0] if signers else None

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
    """Return the trust file, or a draft without signatures, with one more over the same body."""
    record = signed.decode(raw, "trust file", least=0)
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
    record = signed.decode(raw, "trust file", where=where, least=0)
    trust = replace(_read(record.body, where), raw=raw)
    _require(record, trust, trust, "new", where)
    return trust


def verify_next(current: Trust, raw: bytes, *, where: str = "") -> Trust:
    """Read the version that follows `current`, signed by the thresholds of both.

    Raises:
        WrongTrustVersion: it is not the version right after the current one.
        ForkedTrust: it is another file of the current version, signed by the same roots.
        MalformedTrust, WeakKey, ThresholdNotMet: as `verify`.
    """
    trust = verify(raw, where=where)
    is_fork = trust.version == current.version and not trust.says_same(current)
    if trust.version != current.version + 1 and not is_fork:
        raise WrongTrustVersion(where=where, found=trust.version, current=current.version)
    _require(signed.decode(raw, "trust file"), current, trust, "current", where)
    if is_fork:
        raise ForkedTrust(where=where, version=trust.version)
    return trust


def encode_chain(files: Iterable[bytes]) -> bytes:
    """Return what a manifest carries as `trust`: trust files in ascending order of version."""
    return canonical.encode(list(files))


def decode_chain(raw: bytes, *, where: str = "") -> list[bytes]:
    """Return the trust files of a chain, nothing of them verified. Raises MalformedTrust."""
    try:
        rows = shape.Reader.of(canonical.decode(raw, CHAIN_LIMITS, where=where), "trust chain")
        return [rows.bytes(place) for place in range(len(rows.value))]
    except (canonical.NotCanonical, shape.WrongShape) as error:
        raise MalformedTrust(where=where, part="trust chain", reason=error.text()) from error


def advance(current: Trust, chain: bytes, *, where: str = "") -> Trust:
    """Follow a chain as far as it goes; versions before the current one are passed over.

    Raises TrustRefused where a version is missing, forged, forked or malformed; nothing is half
    taken.
    """
    files = decode_chain(chain, where=where)
    for trust, raw in [(read(one, where=where), one) for one in files]:
        if trust.version > current.version or (
            trust.version == current.version and not trust.says_same(current)
        ):
            current = verify_next(current, raw, where=where)
    return current


def read(raw: bytes, *, where: str = "") -> Trust:
    """Read what a trust file or a draft says, nothing verified. Raises MalformedTrust, WeakKey."""
    record = signed.decode(raw, "trust file", where=where, least=0)
    return replace(_read(record.body, where), raw=raw)


def signers(raw: bytes, roots: Iterable[bytes]) -> frozenset[bytes]:
    """Return which of some root keys signed a trust file or a draft. Raises MalformedTrust."""
    return signed.decode(raw, "trust file", least=0).signers(TRUST_TYPE, roots)


def load(path: Path) -> Trust:
    """Read the trust file of this installation. Raises TrustRefused."""
    try:
        with path.open("rb") as file:
            raw = file.read(SMALL_LIMITS.bytes_max + 1)
    except FileNotFoundError as error:
        reason = "there is none; is that the folder of a central or an enrolled relay?"
        raise MalformedTrust(where=str(path), part="trust file", reason=reason) from error
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
            "revocations": revocation.to_wire(trust.revocations),
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
            revocations=tuple(revocation.from_wire(row) for row in value.readers("revocations")),
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
    else:
        reason = _revocation_problem(trust)
    if reason:
        raise MalformedTrust(where=where, part="trust file", reason=reason)


def _revocation_problem(trust: Trust) -> str:
    revoked = [one.key for one in trust.revocations]
    if len(set(revoked)) != len(revoked):
        return "a key is revoked twice"
    if not set(revoked).isdisjoint(trust.roots):
        return "a root key is revoked, it must be dropped"
    if not trust.centrals_in_force() or not trust.registrars_in_force():
        return "every central key or every registrar is revoked"
    if sum(one.ids() for one in trust.revocations) > revocation.KEPT_IDS_MAX:
        return f"its revocations pin more than {revocation.KEPT_IDS_MAX} ids"
    return next((p for one in trust.revocations for kept in one.kept if (p := kept.problem())), "")


__all__ = [
    "Kept", "Revocation", "Trust", "TrustView", "advance", "cosign", "decode_chain", "encode",
    "encode_chain", "load", "read", "signers", "verify", "verify_next",
]  # fmt: skip
