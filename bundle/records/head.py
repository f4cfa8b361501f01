"""A head: central's signed word that its chain of commits had come so far.

It rides in every work bundle, and each report brings the newest one back. So a central that was
set back, or that is not the only one, is told so by proof and not by a site's word alone; also
where it has given the number again since, for a head names what its commit was.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from bundle import canonical, shape
from bundle.ids import DIGEST_BYTES, EPOCH_NONCE_BYTES, BundleId, Epoch
from bundle.limits import SMALL_LIMITS
from bundle.trust import signed
from bundle.trust.errors import MalformedTrust, TrustRefused
from bundle.trust.keys import Signer
from bundle.trust.signed import Signed
from bundle.wire.preauth import HEAD_TYPE

CHUNK = "head"  # kind and name of its chunk
BYTES_MAX = 1024  # of the signed record
OUTVOTED = "chain-refused"  # the code with which a site refuses work of a chain that ended


class HeadRefused(TrustRefused):
    """A head is damaged, or none of central's keys in force signed it. It is passed over."""

    code = "head-refused"
    what = "central's head: {reason}"
    remedy = "nothing was changed; a head of the next work bundle takes its place"


@dataclass(frozen=True, slots=True)
class Named:
    """What a commit was: when it was made, UTC microseconds, and the bundle of the one before.

    `before` is empty where it was the first of its epoch.
    """

    at_us: int
    before: BundleId | None


@dataclass(frozen=True, slots=True)
class Head:
    """How far central's chain of commits had come: its epoch and the number of its last commit.

    `named`: which commit that was; None in heads that a central of before signed.
    """

    epoch: Epoch
    commit: int
    named: Named | None = None

    @property
    def order(self) -> tuple[int, int]:
        """What tells which of two heads of one chain is the later."""
        return self.epoch.counter, self.commit


def make(head: Head, signer: Signer) -> bytes:
    """Return the signed record of a head."""
    value = {"epoch": head.epoch.counter, "nonce": head.epoch.nonce, "commit": head.commit}
    if head.named is not None:
        before = bytes.fromhex(head.named.before or "")
        value |= {"at_us": head.named.at_us, "before": before}
    return signed.encode(signed.sign(HEAD_TYPE, canonical.encode(value), [signer]))


def read(raw: bytes, centrals: Collection[bytes], *, where: str = "") -> Head:
    """Read a signed head; `centrals` are the keys that may sign one. Raises HeadRefused."""
    head, record = _decode(raw, where)
    if not record.signers(HEAD_TYPE, centrals):
        raise HeadRefused(where=where, reason="no key of central's in force signed it")
    return head


def decode(raw: bytes) -> Head:
    """Return a head that was verified before. Raises HeadRefused where it is malformed."""
    return _decode(raw, CHUNK)[0]


def _decode(raw: bytes, where: str) -> tuple[Head, Signed]:
    if len(raw) > BYTES_MAX:
        raise HeadRefused(where=where, reason=f"{len(raw)} bytes, at most {BYTES_MAX}")
    try:
        record = signed.decode(raw, CHUNK, where=where)
        value = shape.Reader.of(canonical.decode(record.body, SMALL_LIMITS, where=where), CHUNK)
        epoch = Epoch(value.count("epoch"), value.bytes("nonce", EPOCH_NONCE_BYTES))
        return Head(epoch, value.count("commit"), _named(value)), record
    except (MalformedTrust, canonical.NotCanonical, shape.WrongShape) as error:
        raise HeadRefused(where=where, reason=error.text()) from error


def _named(value: shape.Reader) -> Named | None:
    if not value.has("before"):
        return None
    raw = value.bytes("before")
    if len(raw) not in (0, DIGEST_BYTES):
        expected = f"{DIGEST_BYTES} bytes, or none"
        raise shape.WrongShape(where=f"{CHUNK}.before", expected=expected, found=str(len(raw)))
    return Named(value.count("at_us"), BundleId(raw.hex()) if raw else None)
