"""What is signed: the pre-authentication encoding of DSSE over raw bytes.

The payload type is part of what is signed, so a signature over one type never passes for another.
"""

from __future__ import annotations

CERTIFICATE_TYPE = "pulk/certificate/1"
TRUST_TYPE = "pulk/trust/1"
ENROLMENT_TYPE = "pulk/enrolment/1"
REQUEST_TYPE = "pulk/request/1"
DATASET_TYPE = "pulk/dataset/1"
PASS_TYPE = "pulk/pass/1"  # noqa: S105  a payload type
HEAD_TYPE = "pulk/head/1"
RADIO_TYPE = "pulk/radio/1"


def bundle_type(kind: str) -> str:
    """Return the payload type of a bundle of a kind: `pulk/bundle/<kind>/1`."""
    return f"pulk/bundle/{kind}/1"


def pae(payload_type: str, body: bytes) -> bytes:
    """Return `DSSEv1 SP len(type) SP type SP len(body) SP body`; lengths are decimal bytes."""
    name = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(body), body)
