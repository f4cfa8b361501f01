"""Every bit flip and every truncation of a 4 KiB bundle: refused, or the same id and verdict.

The reader sees all of them; central and relay a sample that another seed chooses each time
(`PULK_SEED` repeats one), and there the whole state is compared.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from bundle.trust import trust_file
from bundle.trust.trust_file import TrustView
from bundle.wire import thin
from bundle.wire.errors import BadMagic, BundleRefused, Truncated
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from relay import quarantine
from relay.accept import accept_all
from tests.attacks import vector_records as records
from tests.attacks import vector_trust
from tests.attacks.state import central_state, relay_state, settled_world
from tests.attacks.vector_bundles import file_of
from tests.attacks.vector_parts import (
    KEYS,
    Body,
    Made,
    draft,
    edited,
    make,
    proofs,
    run_length,
    sign,
)
from tests.central.conftest import Central, chain

pytestmark = pytest.mark.sweeps

NAMES = ("work", "result", "thin copy")
SAMPLE = 120  # of flips and of truncations, through central and through the relay
SEED = int(os.environ.get("PULK_SEED", random.SystemRandom().randrange(1 << 32)))
VIEW = TrustView(trust_file.verify(vector_trust.TRUST[1]))
STRANGER = (KEYS["stranger"], b"")


@cache
def bundle(name: str) -> bytes:
    """A bundle of 4 KiB and a little, one of its signatures by a stranger."""
    noise = random.Random(3)
    match name:
        case "work":
            even = Body.zstd("lease", "l", b"a" * 900, run_length(b"a" * 900))
            made = make(
                draft(Kind.WORK), file_of(noise.randbytes(3600)), even, Body("logs", "", b"")
            )
        case "result":
            made = grown(records.result(), noise.randbytes(200))
        case _:
            whole = grown(records.result(), noise.randbytes(2600))
            bodies = whole.bodies
            made = whole.with_bodies(*(one.absent() for one in bodies[:4]), *bodies[4:])
    return sign(made, [STRANGER, *proofs(made.kind)]).file()


def grown(made: Made, noise: bytes) -> Made:
    """The same with one file more."""
    bodies = (*made.bodies, file_of(noise))
    chunks = [
        [b.entry().kind, b.entry().name, len(b.raw), b.records, b.entry().digest] for b in bodies
    ]
    return edited(made.with_bodies(*bodies), chunks=chunks)


def verdict(path: Path) -> tuple[str, bytes, tuple[int, ...]]:
    """Id, signer, and which chunks are there and whole."""
    with open_bundle(path, VIEW, audience=None, kinds=frozenset(Kind)) as found:
        found.check_present()
        return found.id, found.signer_key, tuple(found.absent())


def flip(path: Path, bits: Iterable[int]) -> tuple[int, int]:
    """Flip bits one at a time; return how many flips were refused and how many changed nothing."""
    raw, good, refused, passed = path.read_bytes(), verdict(path), 0, 0
    with path.open("r+b", buffering=0) as file:
        for bit in bits:
            at = bit // 8
            os.pwrite(file.fileno(), bytes([raw[at] ^ 1 << bit % 8]), at)
            try:
                assert verdict(path) == good, bit
                passed += 1
            except BundleRefused as error:
                assert error.code != "bundle-refused", bit
                assert error.where == str(path)
                assert error.remedy
                refused += 1
            os.pwrite(file.fileno(), raw[at : at + 1], at)
    assert verdict(path) == good
    return refused, passed


@pytest.mark.parametrize("name", NAMES)
def test_bit_flips_are_refused_or_change_nothing(tmp_path: Path, name: str) -> None:
    print(f"PULK_SEED={SEED}")
    path = tmp_path / "bundle.pulk"
    path.write_bytes(bundle(name))
    bits = 8 * len(bundle(name))
    assert bits >= 8 * 4096
    is_whole = NAMES[SEED % 3] == name or "PULK_EVERY_BIT" in os.environ
    every = range(bits) if is_whole else random.Random(SEED).sample(range(bits), bits // 24)
    refused, passed = flip(path, every)
    assert refused + passed == len(every)
    # The stranger's signature is passed over, whatever its 96 bytes of key and signature are.
    assert 0 < passed <= 8 * 96


@pytest.mark.campaign
@pytest.mark.parametrize("name", NAMES)
def test_every_bit_flip_is_refused_or_changes_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bundle.pulk"
    path.write_bytes(bundle(name))
    refused, passed = flip(path, range(8 * len(bundle(name))))
    assert refused + passed >= 8 * 4096
    assert 0 < passed <= 8 * 96


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_refused_with_path_reason_and_remedy(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bundle.pulk"
    path.write_bytes(bundle(name))
    for length in reversed(range(len(bundle(name)))):
        os.truncate(path, length)
        with pytest.raises(BundleRefused) as caught:
            verdict(path)
        assert isinstance(caught.value, Truncated if length else BadMagic)
        assert str(path) in str(caught.value)
        assert "again" in str(caught.value) or not length


def mutants(raw: bytes) -> Iterable[bytes]:
    """Flips, truncations, and the whole at last."""
    rng = random.Random(SEED)
    for bit in rng.sample(range(8 * len(raw)), SAMPLE):
        yield raw[: bit // 8] + bytes([raw[bit // 8] ^ 1 << bit % 8]) + raw[bit // 8 + 1 :]
    for length in rng.sample(range(len(raw)), SAMPLE // 4):
        yield raw[:length]


def test_central_is_as_it_was_after_damaged_results(tmp_path: Path) -> None:
    print(f"PULK_SEED={SEED}")
    central = Central(tmp_path)
    site = central.site()
    dataset = central.submit(chain(jobs=1))
    central.authority.absorb(site.report(1000))
    (held,) = [one for one in site.fetch(central.authority) if one.leases]
    path = site.result([site.play(held, lease) for lease in held.leases])
    raw, before = path.read_bytes(), central_state(central)
    for number, mutant in enumerate(mutants(raw)):
        scrap = tmp_path / f"{number}.pulk"
        scrap.write_bytes(mutant)
        found = central.authority.absorb(scrap)
        assert (found.outcome, found.bundle) in (("refused", None), ("parked", None))
        assert found.code
        assert found.text
        assert number % 20 or central_state(central) == before
        scrap.unlink()
    assert central_state(central) == before
    assert central.authority.absorb(path).outcome == "merged"
    assert central.counts(dataset)[2] == {"done": 1}
    central.authority.close()


@pytest.mark.parametrize("is_thin", [False, True])
def test_the_spool_is_as_it_was_after_damaged_work(tmp_path: Path, is_thin: bool) -> None:
    print(f"PULK_SEED={SEED}")
    world = settled_world(tmp_path)
    path = world.pack(world.lease(0, [0]), data=[random.Random(5).randbytes(2500)])
    if is_thin:  # what is absent is nowhere here, so even the undamaged copy is refused
        thin.write_thin(path, tmp_path / "thin", frozenset({0, 1}))
        path.write_bytes((tmp_path / "thin").read_bytes())
    raw, before, count = path.read_bytes(), relay_state(world), 0
    for mutant in mutants(raw):
        (world.spool.folder("in") / path.name).write_bytes(mutant)
        assert accept_all(world.home).refused == 1
        count += 1
        assert count % 20 or relay_state(world) == before
    assert relay_state(world) == before
    refused = list(quarantine.every(world.spool))
    assert len(refused) == count
    assert all(one.text and one.code != "unknown" for one in refused)
    world.deliver(path)
    assert accept_all(world.home).bundles == (0 if is_thin else 1)
