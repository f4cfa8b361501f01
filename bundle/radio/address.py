"""The address of a site's radio: a file in the spool, signed by the site's key.

Who reads it learns where to connect and which CURVE key answers there. An old copy names a process
that is gone, with a key that nobody holds any more: it leads nowhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bundle import canonical, shape
from bundle.errors import PulkError
from bundle.ids import SiteName
from bundle.limits import SMALL_LIMITS, ParseLimits
from bundle.trust import signed
from bundle.trust.errors import TrustRefused
from bundle.trust.keys import Signer
from bundle.trust.signed import Signature, Signed
from bundle.trust.trust_file import TrustView
from bundle.wire.preauth import RADIO_TYPE, pae

ADDRESS_LIMITS = ParseLimits(16 << 10, 256)
ENDPOINT = re.compile(r"(ipc:///[ -~]{1,200}|tcp://[A-Za-z0-9.:_\[\]-]{1,255}:[0-9]{1,5})")


class AddressRefused(PulkError):
    """The radio's address in the spool is not signed by this site, or is damaged.

    It is passed over: pilots work by the spool alone. A relay that runs writes a new one.
    """

    code = "radio-address-refused"
    what = "the radio's address is not usable: {reason}"
    remedy = "nothing depends on it; start `pulk relay run` again, and see who else writes there"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a radio is heard. `versions` are the lowest and the highest that it speaks.

    `spread_ms`: over so long pilots that find it spread their connecting, for there are many.
    """

    site: SiteName
    endpoint: str  # as ZeroMQ takes it
    server_key: bytes  # 32 bytes, CURVE's public key of the process that listens
    at_us: int  # when it was last said, UTC microseconds by the relay's clock
    versions: tuple[int, int]
    spread_ms: int = 0


def encode(address: Address, signer: Signer, certificate: bytes) -> bytes:
    """Return the bytes of the file."""
    body = canonical.encode(
        {
            "site": address.site,
            "endpoint": address.endpoint,
            "server_key": address.server_key,
            "at_us": address.at_us,
            "versions": list(address.versions),
            "spread_ms": address.spread_ms,
        }
    )
    one = Signature(signer.public, signer.sign(pae(RADIO_TYPE, body)), certificate)
    return signed.encode(Signed(body, (one,)))


def decode(raw: bytes, trust: TrustView, *, site: str = "", where: str = "") -> Address:
    """Return an address that a certified site signed, `site` where it is given.

    Raises AddressRefused.
    """
    if len(raw) > ADDRESS_LIMITS.bytes_max:
        raise AddressRefused(where=where, reason=f"it has {len(raw)} bytes")
    try:
        record = signed.decode(raw, "radio", where=where)
        one = record.signatures[0]
        if len(record.signatures) != 1 or not one.certificate:
            raise AddressRefused(where=where, reason="it needs one signature with a certificate")
        name, key = trust.site_of(one.certificate, where=where)
        if trust.revocation_of(key) or trust.revoked_registrar(one.certificate):
            raise AddressRefused(where=where, reason="the key that signed it is revoked")
        if one.key != key or not record.signers(RADIO_TYPE, [key]):
            raise AddressRefused(where=where, reason="the signature does not fit")
        found = _read(record.body, where)
    except (TrustRefused, canonical.NotCanonical, shape.WrongShape) as error:
        raise AddressRefused(where=where, reason=error.text()) from error
    if found.site != name or site not in ("", name):
        raise AddressRefused(where=where, reason=f"it is of site {name}")
    return found


def _read(body: bytes, where: str) -> Address:
    value = shape.Reader.of(canonical.decode(body, SMALL_LIMITS, where=where), "radio")
    versions = value.counts("versions")
    endpoint = value.text("endpoint")
    if len(versions) != 2 or versions[0] > versions[1]:
        raise shape.WrongShape(where="radio.versions", expected="two numbers", found="others")
    if not ENDPOINT.fullmatch(endpoint):
        raise shape.WrongShape(where="radio.endpoint", expected="ipc or tcp", found="another")
    return Address(
        site=SiteName(value.text("site")),
        endpoint=endpoint,
        server_key=value.bytes("server_key", 32),
        at_us=value.count("at_us"),
        versions=(versions[0], versions[1]),
        spread_ms=value.count("spread_ms"),
    )
