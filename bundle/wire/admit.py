"""Who may sign what: from raw manifest and signature bytes to a manifest that can be believed.

Order: kind allowed here, key known and allowed for the kind, signature over the raw bytes, and only
then is the manifest parsed. A site's certificate therefore lies beside its signature, and is
compared with the signed one afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

from bundle import canonical, shape
from bundle.ids import SiteName
from bundle.limits import SIGNATURES_BYTES_MAX, ParseLimits
from bundle.trust import signed
from bundle.trust.errors import TrustRefused, UnknownRegistrar
from bundle.trust.keys import Role, verify
from bundle.trust.signed import Signature
from bundle.trust.trust_file import TrustView
from bundle.wire import manifest as manifests
from bundle.wire.errors import (
    BadSignature,
    BundleRefused,
    KeyNotAllowed,
    MalformedBundle,
    RevokedKey,
    UnknownKey,
    WrongKind,
)
from bundle.wire.manifest import CENTRAL, CENTRALS_OWN, SITES_OWN, Kind, Manifest
from bundle.wire.preauth import bundle_type, pae

SIGNATURES_LIMITS = ParseLimits(SIGNATURES_BYTES_MAX, 256)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A verified manifest and who signed it; `site` is None where it was not a site."""

    manifest: Manifest
    signer_key: bytes
    site: SiteName | None


def admit(
    kind: Kind,
    manifest_bytes: bytes,
    signatures_bytes: bytes,
    trust: TrustView,
    kinds: frozenset[Kind],
    *,
    where: str,
) -> Admitted:
    """Verify a manifest's bytes and read them. Raises BundleRefused."""
    check_kind(kind, kinds, where)
    signer = _signer(kind, manifest_bytes, read_signatures(signatures_bytes, where), trust, where)
    key, certificate, site = signer
    manifest = manifests.decode(manifest_bytes, where=where)
    if manifest.kind is not kind:
        reason = f"the header says {kind}, the manifest {manifest.kind}"
        raise MalformedBundle(where=where, part="header", reason=reason)
    if site is not None and (manifest.producer, manifest.certificate) != (site, certificate):
        reason = f"the key is of site {site!r}, the producer is {manifest.producer!r}"
        raise KeyNotAllowed(where=where, key=key.hex(), kind=kind, reason=reason)
    if site is None and kind is Kind.DATA and manifest.producer != CENTRAL:
        reason = f"the producer is {manifest.producer!r}"
        raise KeyNotAllowed(where=where, key=key.hex(), kind=kind, reason=reason)
    own = bytes.fromhex(manifests.bundle_id(manifest_bytes))
    revoked = trust.revoked_key(key, certificate, manifest.stream, manifest.sequence, own)
    if revoked is not None:
        raise RevokedKey(where=where, key=revoked.hex())
    return Admitted(manifest, key, site)


def check_kind(kind: Kind, kinds: frozenset[Kind], where: str) -> None:
    """Raise WrongKind unless the kind is among those accepted at this place."""
    if kind not in kinds:
        raise WrongKind(where=where, kind=kind, allowed=", ".join(sorted(kinds)))


def read_signatures(raw: bytes, where: str) -> tuple[Signature, ...]:
    """Read the signatures' bytes. Raises MalformedBundle."""
    try:
        rows = canonical.decode(raw, SIGNATURES_LIMITS)
        return signed.signatures_from_wire(shape.Reader({"signatures": rows}, "bundle"))
    except (canonical.NotCanonical, shape.WrongShape) as error:
        raise MalformedBundle(where=where, part="signatures", reason=error.text()) from error


def _signer(
    kind: Kind,
    manifest_bytes: bytes,
    signatures: tuple[Signature, ...],
    trust: TrustView,
    where: str,
) -> tuple[bytes, bytes, SiteName | None]:
    """Return key, certificate and site of the first key that is allowed to sign and did.

    Signatures by others are passed over; a wrong one by an allowed key is refused.
    """
    message = pae(bundle_type(kind), manifest_bytes)
    allowed: list[tuple[bytes, bytes, SiteName | None]] = []
    refusals: list[BundleRefused] = []
    for one in signatures:
        try:
            site = _standing(kind, one, trust, where)
        except BundleRefused as error:
            refusals.append(error)
            continue
        if not verify(one.key, message, one.signature):
            raise BadSignature(where=where, key=one.key.hex())
        allowed.append((one.key, one.certificate, site))
    if not allowed:
        raise refusals[0]  # there is at least one signature
    return allowed[0]


def _standing(kind: Kind, one: Signature, trust: TrustView, where: str) -> SiteName | None:
    """Return the site whose key may sign this kind, None for central or a user, or raise."""
    key = one.key.hex()
    role = trust.role_of(one.key)
    if one.certificate and role is None and kind in SITES_OWN | {Kind.DATA}:
        return _site(kind, one, trust, where)
    wanted = {Role.CENTRAL} if kind in CENTRALS_OWN | {Kind.DATA} else set()
    if kind is Kind.SUBMISSION:
        wanted = {Role.USER}
    if role in wanted and not one.certificate:
        return None
    if role is None and not one.certificate and wanted:
        raise UnknownKey(where=where, key=key, trust_version=trust.version)
    reason = f"it is a {role.value} key" if role else "it is no key for this kind"
    if role is None and kind in SITES_OWN:
        reason = "it comes without a site's certificate"
    raise KeyNotAllowed(where=where, key=key, kind=kind, reason=reason)


def _site(kind: Kind, one: Signature, trust: TrustView, where: str) -> SiteName:
    key = one.key.hex()
    try:
        site, certified = trust.site_of(one.certificate, where=where)
    except UnknownRegistrar as error:
        raise UnknownKey(
            where=where, key=str(error.fields["key"]), trust_version=trust.version
        ) from error
    except TrustRefused as error:
        raise KeyNotAllowed(where=where, key=key, kind=kind, reason=error.text()) from error
    if certified != one.key:
        reason = "the certificate beside it is for another key"
        raise KeyNotAllowed(where=where, key=key, kind=kind, reason=reason)
    return site
