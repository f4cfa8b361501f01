"""Everything that believes a signature, each as one question: is this key's signature believed?

An entry point makes what it reads around a public key in its rightful role, lets the caller sign
the message (or anything else), and says whether the real code believed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bundle import canonical
from bundle.errors import PulkError
from bundle.ids import SiteName
from bundle.radio import address as addresses
from bundle.radio.address import Address
from bundle.records import head as heads
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.records.seal import SEAL_PAYLOAD_TYPE, Seal
from bundle.records.segment import Segment, SegmentHeader
from bundle.spool import publish
from bundle.trust import (
    certificate,
    cosignature,
    courier,
    enrolment,
    keys,
    request,
    signed,
    trust_file,
)
from bundle.trust.signed import Signature, Signed
from bundle.trust.trust_file import Trust, TrustView
from bundle.wire import admit, preauth
from bundle.wire import manifest as manifests
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle, verify_envelope
from relay import collect, works
from relay.sources import Sources
from relay.tick import tick
from tests.attacks.vector_parts import (
    CREATED_US,
    EPOCH,
    KEYS,
    ROOTS,
    Made,
    certify,
    draft,
)
from tests.relay.world import SITE, World

Sign = Callable[[bytes], bytes]  # message -> signature
Question = Callable[[bytes, Sign], None]  # raises PulkError where the signature is not believed

TRUST = Trust(1, ROOTS, 2, (KEYS["central-1"].public,), (KEYS["registrar"].public,))
PAYLOAD_TYPES = (
    *(preauth.bundle_type(kind) for kind in Kind),
    preauth.CERTIFICATE_TYPE,
    preauth.TRUST_TYPE,
    preauth.ENROLMENT_TYPE,
    preauth.REQUEST_TYPE,
    preauth.DATASET_TYPE,
    preauth.PASS_TYPE,
    preauth.HEAD_TYPE,
    preauth.RADIO_TYPE,
    SEAL_PAYLOAD_TYPE,
)
ASK = (preauth, admit, signed, request, cosignature, collect, addresses)  # modules that hold `pae`


@dataclass(frozen=True)
class EntryPoint:
    """A name, the payload type that counts there, and the question."""

    name: str
    payload_type: str
    question: Question

    def believes(self, key: bytes, sign: Sign) -> bool:
        """Return whether the key's signature is believed."""
        try:
            self.question(key, sign)
        except PulkError:
            return False
        return True


class NotCollectedError(PulkError):
    """The relay set a seal aside."""


@contextmanager
def messages(payload_type: str, message: bytes) -> Iterator[None]:
    """Let what is signed under a payload type be this message, whatever the body is."""
    real = preauth.pae

    def pae(name: str, body: bytes) -> bytes:
        return message if name == payload_type else real(name, body)

    with pytest.MonkeyPatch.context() as patch:
        for module in ASK:
            patch.setattr(module, "pae", pae)
        yield


def every(folder: Path, world: World) -> list[EntryPoint]:
    """Return all entry points; some need a folder, or a relay with a shard that runs."""
    central, user = preauth.bundle_type("work"), preauth.bundle_type("submission")
    site, telling = preauth.bundle_type("result"), preauth.bundle_type("report")
    bundles = _Bundles(folder / "asked.pulk")
    return [
        EntryPoint("verify", PAYLOAD_TYPES[-1], _verify),
        EntryPoint("central's bundle", central, bundles.of_central),
        EntryPoint("central's envelope", central, bundles.envelope),
        EntryPoint("a site's result", site, bundles.of_site(Kind.RESULT)),
        EntryPoint("a site's report", telling, bundles.of_site(Kind.REPORT)),
        EntryPoint("a user's bundle", user, bundles.of_user),
        EntryPoint("certificate", preauth.CERTIFICATE_TYPE, _certificate),
        EntryPoint("trust file", preauth.TRUST_TYPE, _trust),
        EntryPoint("next trust file", preauth.TRUST_TYPE, _next_trust),
        EntryPoint("enrolment request", preauth.ENROLMENT_TYPE, _enrolment),
        EntryPoint("signed HTTP request", preauth.REQUEST_TYPE, _request),
        EntryPoint("courier's pass", preauth.PASS_TYPE, _pass),
        EntryPoint("co-signature", preauth.DATASET_TYPE, _cosignature),
        EntryPoint("central's head", preauth.HEAD_TYPE, _head),
        EntryPoint("radio's address", preauth.RADIO_TYPE, _radio),
        EntryPoint("seal", SEAL_PAYLOAD_TYPE, _seal_at(world)),
    ]


def _verify(key: bytes, sign: Sign) -> None:
    message = preauth.pae(SEAL_PAYLOAD_TYPE, bytes(32))
    if not keys.verify(key, message, sign(message)):
        raise NotCollectedError()


def _head(key: bytes, sign: Sign) -> None:
    body = canonical.encode({"epoch": 1, "nonce": bytes(16), "commit": 3})
    heads.read(_record(preauth.HEAD_TYPE, body, key, sign), {key})


def _radio(key: bytes, sign: Sign) -> None:
    class Signer:
        public = key

        def sign(self, data: bytes) -> bytes:
            return sign(data)

    said = Address(SiteName("north"), "tcp://10.0.0.7:5570", bytes(32), 1, (1, 1))
    raw = addresses.encode(said, Signer(), certify("north", key))
    addresses.decode(raw, TrustView(TRUST), site="north")


def _record(payload_type: str, body: bytes, key: bytes, sign: Sign) -> bytes:
    row = Signature(key, sign(preauth.pae(payload_type, body)))
    return signed.encode(Signed(body, (row,)))


@dataclass(frozen=True)
class _Bundles:
    path: Path

    def of_central(self, key: bytes, sign: Sign) -> None:
        self._open(self._made(Kind.WORK, key, sign), replace(TRUST, centrals=(key,)))

    def of_user(self, key: bytes, sign: Sign) -> None:
        self._open(self._made(Kind.SUBMISSION, key, sign), TRUST, frozenset({key}))

    def of_site(self, kind: Kind) -> Question:
        def question(key: bytes, sign: Sign) -> None:
            self._open(self._made(kind, key, sign, certify("north", key)), TRUST)

        return question

    def envelope(self, key: bytes, sign: Sign) -> None:
        made = self._made(Kind.WORK, key, sign)
        value = {"kind": "work", "manifest": made.manifest, "signatures": made.signatures}
        trust = TrustView(replace(TRUST, centrals=(key,)))
        verify_envelope(canonical.encode(value), trust, frozenset({Kind.WORK}))

    def _made(self, kind: Kind, key: bytes, sign: Sign, proof: bytes = b"") -> Made:
        plan = replace(draft(kind), certificate=proof).with_chunks(())
        raw = manifests.encode(plan)
        row = Signature(key, sign(preauth.pae(preauth.bundle_type(kind), raw)), proof)
        return Made(kind, raw, canonical.encode(signed.signatures_to_wire([row])), ())

    def _open(self, made: Made, trust: Trust, users: frozenset[bytes] = frozenset()) -> None:
        self.path.write_bytes(made.file())
        view = TrustView(trust, users)
        open_bundle(self.path, view, audience=None, kinds=frozenset(Kind)).close()


def _certificate(key: bytes, sign: Sign) -> None:
    north = {"site": "north", "key": KEYS["north"].public, "serial": 1, "issued_us": CREATED_US}
    raw = _record(preauth.CERTIFICATE_TYPE, canonical.encode(north), key, sign)
    certificate.verify(raw, replace(TRUST, registrars=(key,)))


def _trust_file(key: bytes, sign: Sign, version: int) -> bytes:
    body = canonical.encode(
        {
            "version": version,
            "roots": [key],
            "threshold": 1,
            "centrals": list(TRUST.centrals),
            "registrars": list(TRUST.registrars),
            "revocations": [],
        }
    )
    return _record(preauth.TRUST_TYPE, body, key, sign)


def _trust(key: bytes, sign: Sign) -> None:
    trust_file.verify(_trust_file(key, sign, 1))


def _next_trust(key: bytes, sign: Sign) -> None:
    now = replace(TRUST, roots=(key,), threshold=1)
    chain = trust_file.encode_chain([_trust_file(key, sign, 2)])
    assert trust_file.advance(now, chain).version == 2


def _enrolment(key: bytes, sign: Sign) -> None:
    body = canonical.encode({"site": "north", "key": key, "created_us": CREATED_US})
    enrolment.check_request(_record(preauth.ENROLMENT_TYPE, body, key, sign))


def _request(key: bytes, sign: Sign) -> None:
    class Signer:
        public = key

        def sign(self, data: bytes) -> bytes:
            return sign(data)

    proof = certify("north", key)
    header = request.sign_request(Signer(), proof, "PUT", "/bundles", CREATED_US)
    how = {"now_us": CREATED_US, "skew_max_us": 1}
    request.check_request(header, TrustView(TRUST), "PUT", "/bundles", **how)


def _pass(key: bytes, sign: Sign) -> None:
    times = {"issued_us": CREATED_US, "ends_us": CREATED_US + 1}
    said = canonical.encode({"site": "north", "key": KEYS["north"].public, **times})
    raw = _record(preauth.PASS_TYPE, said, key, sign)
    courier.check(raw, SiteName("north"), key, CREATED_US)


def _cosignature(key: bytes, sign: Sign) -> None:
    cosignature.read(_record(preauth.DATASET_TYPE, b"d" * 32, key, sign))


def _seal_at(world: World) -> Question:
    """Return a question to a relay where a pilot, gone since, took a shard."""
    world.deliver(world.pack(world.lease(0, [0]), epoch=EPOCH))
    tick(world.home)
    pilot = world.pilot()
    header = pilot.take()
    assert header is not None
    pilot.end()
    path = world.spool.seal(pilot.name(header))

    def question(key: bytes, sign: Sign) -> None:
        publish.write_file(world.spool.folder("tmp"), path, _seal(header, key, sign))
        with Sources(world.spool, world.home.trust(), SITE) as sources:
            found = collect.collect(world.home, works.live(world.spool), sources)
        path.unlink(missing_ok=True)
        if not found:
            raise NotCollectedError()

    return question


def _seal(header: SegmentHeader, key: bytes, sign: Sign) -> bytes:
    raw = segments.encode(Segment(header, (), complete=False))
    message = preauth.pae(SEAL_PAYLOAD_TYPE, segments.segment_digest(raw))
    return seals.encode(Seal(raw, key, sign(message), b"\x90", b"\x80", "batch"))
