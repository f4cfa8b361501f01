"""What was signed as one thing is no other thing anywhere: all payload types x all entry points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bundle import canonical
from bundle.errors import PulkError
from bundle.limits import MANIFEST_LIMITS
from bundle.trust import certificate, cosignature, enrolment, quickstart, trust_file
from bundle.trust.keys import KeyFile, MemoryKey
from bundle.trust.trust_file import TrustView
from bundle.wire.manifest import CENTRALS_OWN, SITES_OWN, Kind
from bundle.wire.preauth import bundle_type, pae
from bundle.wire.read import open_bundle, verify_envelope
from relay import quarantine
from relay.accept import accept_all
from tests.attacks import vector_bundles, vector_trust
from tests.attacks import vector_records as records
from tests.attacks.entry_points import PAYLOAD_TYPES, EntryPoint, every
from tests.attacks.state import central_state, relay_state, settled_world
from tests.attacks.vector_parts import (
    CERTIFICATES,
    KEYS,
    Made,
    Proof,
    draft,
    make,
    proofs,
    sign,
)
from tests.central.conftest import Central
from tests.relay.world import make_world

pytestmark = pytest.mark.sweeps

KEY = KEYS["pilot"]
VIEW = TrustView(trust_file.verify(vector_trust.TRUST[1]), frozenset({KEYS["user"].public}))


@pytest.fixture(scope="module")
def entry_points(tmp_path_factory: pytest.TempPathFactory) -> list[EntryPoint]:
    folder = tmp_path_factory.mktemp("entry")
    return every(folder, make_world(folder))


def body_of(message: bytes) -> bytes:
    """The body inside a pre-authentication encoding."""
    _, _, name, count, rest = message.split(b" ", 4)
    assert len(rest) == int(count)
    assert name
    return rest


@pytest.mark.parametrize("payload_type", PAYLOAD_TYPES)
def test_a_signature_counts_for_its_own_payload_type_only(
    entry_points: list[EntryPoint], payload_type: str
) -> None:
    """The right key signs the right body, but as something else."""
    for one in entry_points:
        is_believed = one.believes(KEY.public, lambda m: KEY.sign(pae(payload_type, body_of(m))))
        assert is_believed is (one.payload_type == payload_type), one.name


def test_a_signature_over_the_bare_body_counts_nowhere(entry_points: list[EntryPoint]) -> None:
    for one in entry_points:
        assert not one.believes(KEY.public, lambda m: KEY.sign(body_of(m))), one.name


def records_signed() -> dict[str, bytes]:
    """Every kind of file that carries a signature, each good in its place."""
    found = {f"{kind} bundle": made_of(kind).file() for kind in Kind}
    asked = enrolment.make_request("north", KEYS["north"], created_us=1)
    answer = enrolment.make_answer(CERTIFICATES["north"], vector_trust.TRUST[1])
    signed_by_user = cosignature.make(b"d" * 32, [KEYS["user"]])
    return found | {
        "envelope": records.envelope(vector_bundles.plain()),
        "certificate": CERTIFICATES["north"],
        "trust": vector_trust.TRUST[1],
        "chain": vector_trust.CHAIN,
        "request": asked,
        "answer": answer,
        "co-signature": cosignature.encode(signed_by_user),
        "signatures": vector_bundles.plain().signatures,
        "manifest": vector_bundles.plain().manifest,
    }


def made_of(kind: Kind) -> Made:
    return make(draft(kind))


def places(folder: Path) -> dict[str, Callable[[bytes], object]]:
    """Every place that reads such a file, by the name of what belongs there."""
    path, key = folder / "file.pulk", KEYS["north"].public
    words = vector_trust.FINGERPRINT

    def bundle(kind: Kind) -> Callable[[bytes], object]:
        def read(raw: bytes) -> None:
            path.write_bytes(raw)
            open_bundle(path, VIEW, audience=None, kinds=frozenset({kind})).close()

        return read

    return {f"{kind} bundle": bundle(kind) for kind in Kind} | {
        "envelope": lambda raw: verify_envelope(raw, VIEW, frozenset(Kind)),
        "certificate": lambda raw: certificate.verify(raw, VIEW.trust),
        "trust": trust_file.verify,
        "chain": lambda raw: trust_file.advance(VIEW.trust, raw),
        "request": enrolment.check_request,
        "answer": lambda raw: enrolment.accept_answer(raw, words, key),
        "co-signature": cosignature.read,
    }


def test_every_file_is_refused_wherever_it_does_not_belong(tmp_path: Path) -> None:
    for place, read in places(tmp_path).items():
        for name, raw in records_signed().items():
            try:
                read(raw)
                is_read = True
            except PulkError as error:
                assert error.remedy, (name, place)
                is_read = False
            assert is_read is (name == place), (name, place)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_relabelled_bundle_is_refused(tmp_path: Path, kind: Kind) -> None:
    """In the header, in the manifest, in both; with the old signature, or with one over the old."""
    path = tmp_path / "relabelled.pulk"
    made = made_of(kind)
    for claimed in set(Kind) - {kind}:
        value = canonical.decode(made.manifest, MANIFEST_LIMITS) | {"kind": claimed.value}
        manifest = canonical.encode(value)
        again = sign(replace(made, manifest=manifest), proofs(kind), kind=kind.value)
        for one in (
            replace(made, kind=claimed),
            replace(made, manifest=manifest),
            replace(made, kind=claimed, manifest=manifest),
            again,
            replace(again, kind=claimed),
        ):
            path.write_bytes(one.file())
            with pytest.raises(PulkError):
                open_bundle(path, VIEW, audience=None, kinds=frozenset(Kind))


def test_central_takes_each_kind_from_its_rightful_signer_only(tmp_path: Path) -> None:
    central = Central(tmp_path)
    site = central.site()
    home = central.home
    root = KeyFile.load(home.root_dir / quickstart.ROOT_KEY)
    signers: dict[str, Proof] = {
        "root": (root, b""),
        "central": (KeyFile.load(home.central_key), b""),
        "registrar": (KeyFile.load(home.registrar_key), b""),
        "site": (site.key, site.certificate),
        "stranger": (MemoryKey(b"s" * 32), b""),
    }
    before = central_state(central)
    for kind in Kind:
        for role, proof in signers.items():
            if (role == "central" and kind is Kind.DATA) or (role == "site" and kind in SITES_OWN):
                continue
            plan = replace(draft(kind), certificate=proof[1])
            if plan.certificate and kind is Kind.DATA:
                continue
            if kind in SITES_OWN and role != "site":
                plan = replace(plan, certificate=site.certificate)
            elif role == "site":
                plan = replace(plan, certificate=b"")
            path = tmp_path / f"{kind}-{role}.pulk"
            path.write_bytes(make(plan, by=[proof]).file())
            found = central.authority.absorb(path)
            assert found.outcome != "merged", (kind, role)
            outside = {"wrong-kind"} if kind in CENTRALS_OWN else {"key-not-allowed", "unknown-key"}
            assert found.code in outside, (kind, role)
    assert central_state(central) == before
    central.authority.close()


def test_a_relay_takes_work_of_central_only(tmp_path: Path) -> None:
    world = settled_world(tmp_path)
    authority, before, count = world.authority, relay_state(world), 0
    for kind in Kind:
        for signer in (authority.central, authority.registrar, authority.root, world.home.signer):
            if (kind, signer) == (Kind.WORK, authority.central):
                continue
            proof = world.home.certificate if signer is world.home.signer else b""
            made = make(replace(draft(kind), audience="north"), by=[(signer, proof)])
            (world.spool.folder("in") / f"{count}.pulk").write_bytes(made.file())
            count += 1
    assert accept_all(world.home).refused == count
    assert relay_state(world) == before
    codes = {one.code for one in quarantine.every(world.spool)}
    assert codes == {"wrong-kind", "key-not-allowed"}


def test_every_payload_type_is_its_own() -> None:
    assert len(set(PAYLOAD_TYPES)) == len(PAYLOAD_TYPES) == 16
    assert bundle_type("work") in PAYLOAD_TYPES
