"""A courier's pass: a site's word that a key may carry its bundles to central and back.

It lets its holder make requests in the site's place and nothing else: whoever holds it can sign no
bundle of the site's, and what he carries counts by its own signatures alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from bundle import canonical, shape
from bundle.ids import SiteName, parse_site
from bundle.limits import SMALL_LIMITS
from bundle.trust import signed
from bundle.trust.errors import MalformedTrust, RequestRefused
from bundle.trust.keys import Signer, check_public
from bundle.wire.preauth import PASS_TYPE

LIFETIME_US_MAX = 400 * 86_400 * 1_000_000


@dataclass(frozen=True, slots=True)
class Pass:
    """What a site says: this key carries for it. Times are UTC microseconds."""

    site: SiteName
    key: bytes  # 32 bytes, the courier's public key
    issued_us: int
    ends_us: int


def issue(given: Pass, site_key: Signer) -> bytes:
    """Return the signed bytes of a pass. Raises WeakKey."""
    check_public(given.key)
    body = canonical.encode({name: getattr(given, name) for name in Pass.__slots__})
    return signed.encode(signed.sign(PASS_TYPE, body, [site_key]))


def wrap(certificate: bytes, given: bytes) -> bytes:
    """Return the file that a courier is given: the site's certificate and the pass."""
    return canonical.encode({"certificate": certificate, "pass": given})


def unwrap(raw: bytes, *, where: str = "") -> tuple[bytes, bytes]:
    """Return the certificate and the pass of such a file, unverified. Raises MalformedTrust."""
    try:
        value = shape.Reader.of(canonical.decode(raw, SMALL_LIMITS, where=where), where)
        return value.bytes("certificate"), value.bytes("pass")
    except (canonical.NotCanonical, shape.WrongShape) as error:
        raise MalformedTrust(where=where, part="pass", reason=error.text()) from error


def read(raw: bytes, *, where: str = "") -> Pass:
    """Read what a pass says, nothing verified. Raises MalformedTrust, WeakKey."""
    return _body(signed.decode(raw, "pass", where=where).body, where)


def check(raw: bytes, site: SiteName, site_key: bytes, now_us: int, *, where: str = "") -> bytes:
    """Return the courier's key, if the site signed the pass and its time is not over.

    Raises MalformedTrust, WeakKey, RequestRefused.
    """
    record = signed.decode(raw, "pass", where=where)
    if not record.signers(PASS_TYPE, [site_key]):
        raise RequestRefused(where=where, reason="the site did not sign the courier's pass")
    given = _body(record.body, where)
    if given.site != site:
        raise RequestRefused(where=where, reason=f"the courier's pass is of site {given.site}")
    if now_us >= given.ends_us or given.ends_us - given.issued_us > LIFETIME_US_MAX:
        raise RequestRefused(
            where=where, reason="the courier's pass is over: the site makes another"
        )
    return given.key


def _body(body: bytes, where: str) -> Pass:
    try:
        value = shape.Reader.of(canonical.decode(body, SMALL_LIMITS), "pass")
        site = parse_site(value.text("site"))
        key = value.bytes("key", 32)
        found = Pass(site, key, value.count("issued_us"), value.count("ends_us"))
    except (canonical.NotCanonical, shape.WrongShape) as error:
        raise MalformedTrust(where=where, part="pass", reason=error.text()) from error
    check_public(found.key, where=where)
    return found
