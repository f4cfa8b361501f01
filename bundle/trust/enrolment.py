"""Enrolment by files alone: a request with proof of possession, an answer, two phone comparisons.

The admin compares the request's fingerprint; the site's operator types the root's. So both ways
are authenticated, and neither file needs a safe way.
"""

from __future__ import annotations

from dataclasses import dataclass

from bundle import canonical, shape
from bundle.ids import SiteName
from bundle.limits import SMALL_LIMITS
from bundle.trust import certificate, fingerprint, signed, trust_file
from bundle.trust.errors import EnrolmentRefused, KeyRevoked, MalformedTrust
from bundle.trust.keys import Signer, check_public
from bundle.trust.trust_file import Trust, TrustView
from bundle.wire.preauth import ENROLMENT_TYPE


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """What a site asks for: that its key be certified under its name."""

    site: SiteName
    key: bytes  # 32 bytes, public
    created_us: int

    @property
    def fingerprint(self) -> str:
        """The six words to be compared by phone."""
        return fingerprint.of_key(self.key)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a site keeps of an answer: its certificate and the trust file, both verified."""

    site: SiteName
    certificate: bytes
    trust: Trust


def make_request(site: str, signer: Signer, *, created_us: int) -> bytes:
    """Return a request signed by the key that it asks to certify. Raises CertificateRefused."""
    body = canonical.encode(
        {
            "site": certificate.check_site_name(site),
            "key": signer.public,
            "created_us": created_us,
        }
    )
    return signed.encode(signed.sign(ENROLMENT_TYPE, body, [signer]))


def check_request(raw: bytes, *, where: str = "") -> EnrolmentRequest:
    """Return a request whose maker holds its key; the fingerprint is still to be compared.

    Raises EnrolmentRefused, WeakKey, CertificateRefused, MalformedTrust.
    """
    record = signed.decode(raw, "enrolment request", where=where)
    try:
        value = shape.Reader.of(canonical.decode(record.body, SMALL_LIMITS), "request")
        key, site = value.bytes("key", 32), value.text("site")
        created_us = value.count("created_us")
    except (canonical.NotCanonical, shape.WrongShape) as error:
        raise MalformedTrust(where=where, part="enrolment request", reason=error.text()) from error
    check_public(key, where=where)
    if not record.signers(ENROLMENT_TYPE, [key]):
        raise EnrolmentRefused(where=where, reason="it is not signed by the key that it names")
    return EnrolmentRequest(certificate.check_site_name(site, where=where), key, created_us)


def make_answer(certificate_bytes: bytes, trust_bytes: bytes) -> bytes:
    """Return the answer file; certificate and trust file each carry their own signatures."""
    return canonical.encode({"certificate": certificate_bytes, "trust": trust_bytes})


def read_answer(raw: bytes, *, where: str = "") -> tuple[Trust, bytes]:
    """Return trust file and certificate of an answer; the roots are still to be compared.

    Raises MalformedTrust, WeakKey, ThresholdNotMet.
    """
    try:
        value = shape.Reader.of(canonical.decode(raw, SMALL_LIMITS), "answer")
        certificate_bytes, trust_bytes = value.bytes("certificate"), value.bytes("trust")
    except (canonical.NotCanonical, shape.WrongShape) as error:
        raise MalformedTrust(where=where, part="enrolment answer", reason=error.text()) from error
    return trust_file.verify(trust_bytes, where=where), certificate_bytes


def accept_answer(
    raw: bytes, root_fingerprint: str, own_key: bytes, *, site: str | None = None, where: str = ""
) -> Accepted:
    """Return what an answer brings, all of it verified before anything may be written.

    Args:
        raw: the answer file.
        root_fingerprint: six words, typed from the phone call.
        own_key: the site's public key.
        site: the site's own name, compared where it is given.
        where: names the file in errors.

    Raises:
        WrongFingerprint: the trust file's roots are not those of the phone call.
        EnrolmentRefused, CertificateRefused, UnknownRegistrar, KeyRevoked, MalformedTrust,
        ThresholdNotMet.
    """
    trust, certificate_bytes = read_answer(raw, where=where)
    fingerprint.require(root_fingerprint, fingerprint.of_roots(trust), where=where)
    found = certificate.verify(certificate_bytes, trust, where=where)
    if found.key != own_key or (site is not None and found.site != site):
        reason = f"the answer is for another key or site ({found.site})"
        raise EnrolmentRefused(where=where, reason=reason)
    view = TrustView(trust)
    revoked = own_key if view.revocation_of(own_key) else view.revoked_registrar(certificate_bytes)
    if revoked is not None:
        raise KeyRevoked(where=where, key=revoked.hex(), site=found.site)
    return Accepted(found.site, certificate_bytes, trust)
