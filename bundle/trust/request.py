"""The signed header of a site's HTTP request: `PulkSite <certificate>.<created_us>.<signature>`.

A courier's is `PulkCourier <certificate>.<pass>.<created_us>.<signature>`: the site's certificate,
its pass for the courier's key, and that key's signature.
"""

from __future__ import annotations

import base64
import binascii

from bundle.ids import SiteName
from bundle.trust import courier
from bundle.trust.errors import KeyRevoked, RequestRefused, TrustRefused
from bundle.trust.keys import Signer, verify
from bundle.trust.trust_file import TrustView
from bundle.wire.preauth import REQUEST_TYPE, pae

SCHEME, COURIER_SCHEME = "PulkSite", "PulkCourier"
HEADER_CHARS_MAX = 8192


def sign_request(
    signer: Signer,
    certificate: bytes,
    method: str,
    path: str,
    created_us: int,
    courier_pass: bytes = b"",
) -> str:
    """Return the value of the `Authorization` header for one request of a site.

    `path` is the request's path as sent (no scheme, host, query); `created_us` is UTC microseconds.
    With a courier's pass the certificate is the site's and the signer the courier.
    """
    signature = _text(signer.sign(_message(method, path, created_us)))
    if courier_pass:
        said = f"{_text(certificate)}.{_text(courier_pass)}"
        return f"{COURIER_SCHEME} {said}.{created_us}.{signature}"
    return f"{SCHEME} {_text(certificate)}.{created_us}.{signature}"


def check_request(
    header: str | None,
    trust: TrustView,
    method: str,
    path: str,
    *,
    now_us: int,
    skew_max_us: int,
) -> SiteName:
    """Return the site that signed a request, or for which a courier with its pass did.

    Raises:
        RequestRefused: missing, malformed, too far from now, or forged.
        KeyRevoked, UnknownRegistrar, CertificateRefused: the certificate gives no standing.
    """
    certificate, courier_pass, created_us, signature = _parse(header)
    try:
        site, key = trust.site_of(certificate, where="Authorization")
    except TrustRefused as error:
        error.where = error.where or "Authorization"
        raise
    signer = key
    if courier_pass:
        signer = courier.check(courier_pass, site, key, now_us, where="Authorization")
    if not verify(signer, _message(method, path, created_us), signature):
        raise RequestRefused(where=path, reason="it does not fit the method, path and time")
    if abs(now_us - created_us) > skew_max_us:
        seconds = (now_us - created_us) // 1_000_000
        reason = f"it was made {seconds} s before now by this clock"
        raise RequestRefused(where=path, reason=f"{reason}, at most {skew_max_us // 1_000_000}")
    revoked = next((one for one in (key, signer) if trust.revocation_of(one)), None)
    revoked = revoked or trust.revoked_registrar(certificate)
    if revoked is not None:
        raise KeyRevoked(where=path, key=revoked.hex(), site=site)
    return site


def _message(method: str, path: str, created_us: int) -> bytes:
    return pae(REQUEST_TYPE, f"{method} {path} {created_us}".encode())


def _parse(header: str | None) -> tuple[bytes, bytes, int, bytes]:
    if not header:
        raise RequestRefused(where="Authorization", reason="there is none")
    scheme, _, rest = header[: HEADER_CHARS_MAX + 1].partition(" ")
    match rest.split("."):
        case [certificate, *given, created, signature] if (
            (scheme, len(given)) in ((SCHEME, 0), (COURIER_SCHEME, 1))
            and all(given)
            and len(header) <= HEADER_CHARS_MAX
            and created.isascii()
            and created.isdecimal()
            and len(created) < 20
        ):
            try:
                courier_pass = b"".join(map(_bytes, given))
                return _bytes(certificate), courier_pass, int(created), _bytes(signature)
            except (binascii.Error, ValueError):
                pass
    form = f"{SCHEME} <certificate>.<created_us>.<signature>"
    reason = f"not of the form `{form}`"
    raise RequestRefused(where="Authorization", reason=reason)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
