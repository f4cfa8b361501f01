"""A site's certificate: the registrar's word that a key is a site's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundle import canonical, shape
from bundle.ids import MalformedId, SiteName, parse_site
from bundle.limits import SMALL_LIMITS
from bundle.trust import signed
from bundle.trust.errors import CertificateRefused, MalformedTrust, UnknownRegistrar
from bundle.trust.keys import Signer, check_public
from bundle.wire.preauth import CERTIFICATE_TYPE

if TYPE_CHECKING:
    from bundle.trust.trust_file import Trust

RESERVED_NAMES = frozenset({"central"})  # a producer's name must tell central from every site


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a registrar says: this key is that site's."""

    site: SiteName
    key: bytes  # 32 bytes, public
    serial: int
    issued_us: int


def issue(certificate: Certificate, registrar: Signer) -> bytes:
    """Return the signed bytes of a certificate. Raises WeakKey, CertificateRefused."""
    check_public(certificate.key)
    check_site_name(certificate.site)
    body = canonical.encode({name: getattr(certificate, name) for name in Certificate.__slots__})
    return signed.encode(signed.sign(CERTIFICATE_TYPE, body, [registrar]))


def verify(raw: bytes, trust: Trust, *, where: str = "") -> Certificate:
    """Return a certificate that a registrar of the trust file signed.

    Raises:
        UnknownRegistrar: no signature is by a registrar known here.
        CertificateRefused: damaged or forged.
        WeakKey: it certifies a key that must not be trusted.
    """
    try:
        record = signed.decode(raw, "certificate", where=where)
    except MalformedTrust as error:
        raise CertificateRefused(where=where, reason=str(error.fields["reason"])) from error
    known = [one.key for one in record.signatures if one.key in trust.registrars]
    if not known:
        key = record.signatures[0].key.hex()
        raise UnknownRegistrar(where=where, key=key, trust_version=trust.version)
    if not record.signers(CERTIFICATE_TYPE, known):
        raise CertificateRefused(where=where, reason="the registrar's signature does not fit")
    return _body(record.body, where)


def read(raw: bytes, *, where: str = "") -> Certificate:
    """Read what a certificate says, nothing verified. Raises TrustRefused."""
    return _body(signed.decode(raw, "certificate", where=where).body, where)


def registrars(raw: bytes, trust: Trust) -> frozenset[bytes]:
    """Return which registrars of the trust file signed a certificate, revoked ones too.

    Raises MalformedTrust.
    """
    return signed.decode(raw, "certificate").signers(CERTIFICATE_TYPE, trust.registrars)


def check_site_name(text: str, *, where: str = "") -> SiteName:
    """Return a name that a site may have. Raises CertificateRefused."""
    try:
        site = parse_site(text)
    except MalformedId as error:
        raise CertificateRefused(where=where, reason=error.text()) from error
    if site in RESERVED_NAMES:
        raise CertificateRefused(where=where, reason=f"no site can have the name {text!r}")
    return site


def _body(body: bytes, where: str) -> Certificate:
    try:
        value = shape.Reader.of(canonical.decode(body, SMALL_LIMITS), "certificate")
        key, serial = value.bytes("key", 32), value.count("serial")
        site, issued_us = value.text("site"), value.count("issued_us")
    except (canonical.NotCanonical, shape.WrongShape) as error:
        raise CertificateRefused(where=where, reason=error.text()) from error
    return Certificate(
        check_site_name(site, where=where), check_public(key, where=where), serial, issued_us
    )
