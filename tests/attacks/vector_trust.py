"""Trust files, certificates, enrolment, envelopes and signatures among the published vectors."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from bundle import canonical
from bundle.trust import enrolment, fingerprint, signed, trust_file
from bundle.trust.keys import MemoryKey
from bundle.wire.manifest import Kind
from bundle.wire.preauth import ENROLMENT_TYPE, TRUST_TYPE, pae
from tests.attacks import curve
from tests.attacks import vector_records as records
from tests.attacks.vector_parts import (
    CERTIFICATES,
    CREATED_US,
    KEYS,
    ROOTS,
    Made,
    certify,
    draft,
    kept_of_north,
    make,
    trust_version,
)

WEAK_KEY = curve.encode(curve.TORSION[1])
STRANGERS = certify("north", KEYS["north"].public, KEYS["stranger"])
WEAK = certify("north", WEAK_KEY)
REISSUED = certify("south", KEYS["north"].public)


def last_kept() -> Made:
    """Return the result bundle of north that is the last one kept when its key is revoked."""
    return make(draft(Kind.RESULT, sequence=3))


TRUST = {
    1: trust_version(1, ["central-1", "central-2"], "root-1", "root-2"),
    2: trust_version(2, ["central-1", "central-2", "central-3"], "root-1", "root-3"),
    3: trust_version(
        3,
        ["central-1", "central-2", "central-3"],
        "root-2",
        "root-3",
        kept=[kept_of_north(3, bytes.fromhex(last_kept().id))],
    ),
}
CHAIN = trust_file.encode_chain(TRUST.values())
FINGERPRINT = fingerprint.of_root_keys(ROOTS, 2)


def every() -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Yield the name of each file, its bytes, and what is expected of it."""
    yield from _trust()
    yield from _chains()
    yield from _certificates()
    yield from _enrolment()
    made = records.work()
    at = {"type": "envelope", "trust": "trust-1.trust", "kinds": ["work"]}
    found = {"verdict": "ok", "bundle_id": made.id}
    yield "work.envelope", records.envelope(made), at | found
    yield "four-fields.envelope", records.envelope(made, more=1), at | _refused("malformed-bundle")
    lie = records.envelope(made, kind="commit")
    yield "another-kind.envelope", lie, at | {"kinds": ["commit"]} | _refused("bad-signature")


def _trust() -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    at = {"type": "trust"}
    for version, raw in TRUST.items():
        found = {"verdict": "ok", "version": version, "root_fingerprint": FINGERPRINT}
        yield f"trust-{version}.trust", raw, at | found
    one = trust_version(1, ["central-1"], "root-1")
    yield "one-root-of-two.trust", one, at | _refused("threshold-not-met")
    twice = trust_version(1, ["central-1"], "root-1", "root-1")
    yield "one-root-twice.trust", twice, at | _refused("threshold-not-met")
    for name, fields, code in (
        ("names-a-weak-key", {"centrals": [WEAK_KEY]}, "weak-key"),
        ("names-a-key-twice", {"centrals": [KEYS["registrar"].public]}, "malformed-trust"),
        ("has-another-field", {"zz": 1}, "malformed-trust"),
        ("threshold-0", {"threshold": 0}, "malformed-trust"),
        ("version-0", {"version": 0}, "malformed-trust"),
        ("no-registrar", {"registrars": []}, "malformed-trust"),
        ("revokes-every-central", {"revocations": _all_centrals()}, "malformed-trust"),
    ):
        yield (
            f"{name}.trust",
            resigned(fields),
            at | _refused(code),
        )
    body = canonical.decode(signed.decode(TRUST[1], "").body, trust_file.SMALL_LIMITS)
    as_other = _signed(ENROLMENT_TYPE, body, "root-1", "root-2")
    yield "signed-as-enrolment.trust", as_other, at | _refused("threshold-not-met")


def _chains() -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    at = {"type": "chain", "from": "trust-1.trust"}
    yield "to-3.chain", CHAIN, at | {"verdict": "ok", "version": 3}
    old = trust_file.encode_chain([TRUST[1]])
    older = {"type": "chain", "from": "trust-3.trust", "verdict": "ok", "version": 3}
    yield "rolled-back.chain", old, older | {"why": "versions before the current are passed over"}
    gap = trust_file.encode_chain([TRUST[1], TRUST[3]])
    yield "misses-2.chain", gap, at | _refused("wrong-trust-version")
    forked = trust_version(1, ["central-3"], "root-1", "root-2")
    fork = trust_file.encode_chain([forked])
    yield "another-1.chain", fork, at | _refused("forked-trust")


def _certificates() -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    at = {"type": "certificate", "trust": "trust-1.trust"}
    found = {"verdict": "ok", "site": "north", "key": KEYS["north"].public.hex()}
    yield "north.certificate", CERTIFICATES["north"], at | found
    yield "by-a-stranger.certificate", STRANGERS, at | _refused("unknown-registrar")
    yield "weak-key.certificate", WEAK, at | _refused("weak-key")
    for name, site in (("names-central", "central"), ("names-a-path", "../north")):
        raw = certify(site, KEYS["north"].public)
        yield f"{name}.certificate", raw, at | _refused("certificate-refused")


def _enrolment() -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    at: dict[str, Any] = {"type": "request"}
    key = KEYS["north"].public
    words = fingerprint.of_key(key)
    asked = enrolment.make_request("north", KEYS["north"], created_us=CREATED_US)
    found = {"verdict": "ok", "site": "north", "key": key.hex(), "fingerprint": words}
    yield "north.request", asked, at | found
    body = {"site": "north", "key": key, "created_us": CREATED_US}
    others = _signed(ENROLMENT_TYPE, body, "stranger")
    yield "not-its-own-key.request", others, at | _refused("enrolment-refused")
    weak = _signed(ENROLMENT_TYPE, body | {"key": WEAK_KEY}, "stranger")
    yield "weak-key.request", weak, at | _refused("weak-key")
    at = {"type": "answer", "key": key.hex(), "root_fingerprint": FINGERPRINT}
    answer = enrolment.make_answer(CERTIFICATES["north"], TRUST[1])
    yield "north.answer", answer, at | {"verdict": "ok", "site": "north"}
    wrong = at | {"root_fingerprint": words} | _refused("wrong-fingerprint")
    yield "other-roots.answer", answer, wrong
    south = enrolment.make_answer(CERTIFICATES["south"], TRUST[1])
    yield "another-key.answer", south, at | _refused("enrolment-refused")


@cache
def _odd() -> list[dict[str, Any]]:
    rows = []
    for one in [*curve.right_signers(), *curve.odd_signers()]:
        seen: set[bool] = set()
        for number in range(30):
            message = pae("pulk/segment/1", number.to_bytes(32, "big"))
            signature = one.sign(message)
            is_valid = curve.is_strict(one.public, message, signature)
            if is_valid not in seen:
                rows.append(_row(one.name, one.public, message, signature, is_valid))
            seen.add(is_valid)
            if len(seen) == 2 or not (one.name.startswith("mixed") or number < 1):
                break
    return rows


def signatures() -> Iterator[dict[str, Any]]:
    """Yield keys, messages and signatures at the edge, and whether they are valid."""
    yield from _odd()
    message = pae("pulk/segment/1", bytes(32))
    good, key = KEYS["pilot"].sign(message), KEYS["pilot"].public
    yield _row("of a right key", key, message, good, True)
    yield _row("of another message", key, message + b"!", good, False)
    yield _row("of another key", KEYS["north"].public, message, good, False)
    yield _row("a byte short", key, message, good[:-1], False)
    yield _row("a byte long", key, message, good + b"\0", False)


def _row(name: str, key: bytes, message: bytes, signature: bytes, is_valid: bool) -> dict[str, Any]:
    return {
        "name": name,
        "key": key.hex(),
        "message": message.hex(),
        "signature": signature.hex(),
        "valid": is_valid,
    }


def resigned(fields: dict[str, Any]) -> bytes:
    """Return trust version 1 with other fields, signed as it is."""
    body = canonical.decode(signed.decode(TRUST[1], "").body, trust_file.SMALL_LIMITS)
    return _signed(TRUST_TYPE, body | fields, "root-1", "root-2")


def _all_centrals() -> list[object]:
    return [[KEYS[name].public, []] for name in ("central-1", "central-2")]


def _signed(payload_type: str, body: dict[str, Any], *roles: str) -> bytes:
    by: list[MemoryKey] = [KEYS[role] for role in roles]
    return signed.encode(signed.sign(payload_type, canonical.encode(body), by))


def _refused(code: str) -> dict[str, str]:
    return {"verdict": "refused", "code": code}
