"""One verdict for one (key, message, signature), whichever entry point is asked.

The twelve kinds of edge are made by our own arithmetic (tests/attacks/curve.py), which also says
what is right; Wycheproof's corpus is read from ../shared where it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundle import canonical
from bundle.ids import SiteName
from bundle.trust import certificate, public_key, roots, trust_file
from bundle.trust.certificate import Certificate
from bundle.trust.errors import WeakKey
from bundle.trust.keys import check_public, verify
from bundle.wire.preauth import pae
from tests.attacks import curve
from tests.attacks.curve import ORDER, TORSION, Odd, encodings
from tests.attacks.entry_points import TRUST, EntryPoint, Sign, every, messages
from tests.attacks.vector_parts import KEYS, certify
from tests.central.conftest import Central
from tests.conftest import SHARED_DATA
from tests.relay.world import make_world

pytestmark = pytest.mark.sweeps

WYCHEPROOF = SHARED_DATA / "hostile" / "sig" / "C2SP__wycheproof--ed25519_test.json"
ENTRY_POINTS = 16
SMALL_ORDER = sorted(set().union(*map(encodings, TORSION)))
MESSAGES = 64


@pytest.fixture(scope="module")
def entry_points(tmp_path_factory: pytest.TempPathFactory) -> list[EntryPoint]:
    folder = tmp_path_factory.mktemp("entry")
    found = every(folder, make_world(folder))
    assert len(found) == ENTRY_POINTS
    return found


def verdicts(entry_points: list[EntryPoint], key: bytes, sign: Sign) -> dict[str, bool]:
    return {one.name: one.believes(key, sign) for one in entry_points}


def test_a_right_signature_is_believed_at_every_entry_point(entry_points: list[EntryPoint]) -> None:
    said = verdicts(entry_points, KEYS["pilot"].public, KEYS["pilot"].sign)
    assert all(said.values()), said


def in_other_form(change: Callable[[bytes], bytes]) -> Sign:
    return lambda message: change(KEYS["pilot"].sign(message))


def shifted(signature: bytes, orders: int) -> bytes:
    scalar = int.from_bytes(signature[32:], "little") + orders * ORDER
    return signature[:32] + scalar.to_bytes(32, "little")


@pytest.mark.parametrize(
    "change",
    [
        *(lambda s, n=n: shifted(s, n) for n in (1, 2, 14)),
        *(lambda s, n=n: s[:n] for n in (0, 32, 63)),
        *(lambda s, tail=tail: s + tail for tail in (b"\0", bytes(64))),
        lambda s: s[:31] + bytes([s[31] ^ 0x80]) + s[32:],
        lambda s: s[:63] + bytes([s[63] | 0x20]),
        lambda s: s[32:] + s[:32],
        lambda _: bytes(64),
        lambda _: b"\xff" * 64,
    ],
)
def test_no_other_form_of_a_right_signature_is_believed(
    entry_points: list[EntryPoint], change: Callable[[bytes], bytes]
) -> None:
    said = verdicts(entry_points, KEYS["pilot"].public, in_other_form(change))
    assert not any(said.values()), said


@pytest.mark.parametrize("public", SMALL_ORDER, ids=bytes.hex)
def test_no_small_order_key_is_believed_anywhere(
    entry_points: list[EntryPoint], public: bytes
) -> None:
    """R of small order and S = 0 is what a lenient verifier takes for every eighth message."""
    count = 0

    def sign(_: bytes) -> bytes:
        nonlocal count
        count += 1
        return SMALL_ORDER[count % len(SMALL_ORDER)] + bytes(32)

    is_usual = public in {curve.encode(point) for point in TORSION}
    messages_each = MESSAGES if is_usual else MESSAGES // 8
    for one in entry_points:
        for _ in range(messages_each):
            assert not one.believes(public, sign), one.name
    assert count == messages_each * ENTRY_POINTS


@pytest.mark.parametrize(
    "odd", [*curve.odd_signers(), *curve.right_signers()], ids=lambda one: one.name
)
def test_edges_are_judged_alike_everywhere_and_as_the_equation_says(
    entry_points: list[EntryPoint], odd: Odd
) -> None:
    seen: list[bytes] = []

    def sign(message: bytes) -> bytes:
        seen.append(message)
        return odd.sign(message)

    for one in entry_points:
        is_believed = one.believes(odd.public, sign)
        is_right = curve.is_strict(odd.public, seen[-1], odd.sign(seen[-1]))
        assert is_believed is is_right, one.name
    assert len(seen) == ENTRY_POINTS


def test_one_edge_is_judged_alike_everywhere(entry_points: list[EntryPoint]) -> None:
    for odd in [*curve.odd_signers(), *curve.right_signers()]:
        message = pae("pulk/segment/1", b"one message")
        signature = odd.sign(message)
        wanted = verify(odd.public, message, signature)
        assert ask(entry_points, odd.public, message, signature) == {wanted}, odd.name


def ask(entry_points: list[EntryPoint], key: bytes, message: bytes, signature: bytes) -> set[bool]:
    """What all entry points say of exactly these three."""
    said = set()
    for one in entry_points[1:]:
        with messages(one.payload_type, message):
            said.add(one.believes(key, lambda _: signature))
    return said


def wycheproof() -> list[tuple[bytes, dict[str, Any]]]:
    if not WYCHEPROOF.is_file():
        return []
    groups = json.loads(WYCHEPROOF.read_bytes())["testGroups"]
    return [(bytes.fromhex(g["publicKey"]["pk"]), test) for g in groups for test in g["tests"]]


def test_wycheproof_is_judged_as_published_at_every_entry_point(
    entry_points: list[EntryPoint],
) -> None:
    cases = wycheproof()
    if not cases:
        pytest.skip("Wycheproof's corpus (../shared/data/hostile/sig) is not here")
    assert len(cases) > 100
    for key, test in cases:
        message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
        wanted = test["result"] == "valid"
        assert verify(key, message, signature) is wanted, test["tcId"]
        assert ask(entry_points, key, message, signature) == {wanted}, test["tcId"]


@pytest.mark.parametrize("public", SMALL_ORDER, ids=bytes.hex)
def test_no_small_order_key_gets_a_role(tmp_path: Path, public: bytes) -> None:
    """Where a key is listed, certified or typed in it is looked at before it is used."""
    registrar = KEYS["registrar"]
    weak = Certificate(SiteName("north"), public, 1, 1)
    listed = replace(TRUST, centrals=(public,))
    by_hand = canonical.encode({"roots": [public], "threshold": 1})
    for work in (
        lambda: check_public(public),
        lambda: certificate.issue(weak, registrar),
        lambda: certificate.verify(certify("north", public), TRUST),
        lambda: trust_file.encode(listed, [KEYS["root-1"], KEYS["root-2"]]),
        lambda: roots.decode(by_hand),
        lambda: public_key.read(public.hex()),
    ):
        with pytest.raises(WeakKey):
            work()


def test_no_small_order_key_becomes_a_user(tmp_path: Path) -> None:
    central = Central(tmp_path)
    for public in SMALL_ORDER:
        with pytest.raises(WeakKey):
            central.authority.add_user("somebody", public)
    assert [one["name"] for one in central.authority.users()] == ["admin"]
    central.authority.close()
