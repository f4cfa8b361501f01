"""Who signed a bundle, as far as a trust file tells."""

from __future__ import annotations

from typing import Any

from bundle.trust import fingerprint
from bundle.trust.errors import TrustRefused
from bundle.trust.keys import verify
from bundle.trust.signed import Signature
from bundle.trust.trust_file import TrustView
from bundle.wire.admit import read_signatures
from bundle.wire.preauth import bundle_type, pae
from bundle.wire.read import OpenBundle


def signatures(bundle: OpenBundle, trust: TrustView | None) -> list[dict[str, Any]]:
    """Return each signature: key, its six words, whose it is, whether it verifies.

    `holder` is empty and `verifies` nil without trust: a key alone says nothing.
    """
    rows = read_signatures(bundle.signatures_bytes, str(bundle.path))
    message = pae(bundle_type(bundle.manifest.kind), bundle.manifest_bytes)
    return [
        {
            "key": one.key.hex(),
            "words": fingerprint.of_key(one.key),
            "holder": "" if trust is None else holder(one, trust),
            "verifies": None if trust is None else verify(one.key, message, one.signature),
        }
        for one in rows
    ]


def holder(one: Signature, trust: TrustView) -> str:
    """Return whose key it is by the trust file, in words."""
    role = trust.role_of(one.key)
    if role is not None:
        return f"{role.value} key of trust version {trust.version}"
    if not one.certificate:
        return f"unknown to trust version {trust.version}"
    try:
        site, certified = trust.site_of(one.certificate)
    except TrustRefused as error:
        return f"no site's: {error.text()}"
    if certified != one.key:
        return f"unknown; the certificate beside it is for another key of site {site}"
    revoked = ", revoked" if trust.revocation_of(one.key) is not None else ""
    return f"site {site}{revoked}"
