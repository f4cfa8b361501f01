"""Trust moves from version to version only as the root keys of both sides say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundle import canonical
from bundle.intervals import IntervalSet
from bundle.limits import SMALL_LIMITS
from bundle.trust import quickstart, trust_file
from bundle.trust.errors import (
    KeyFileRefused,
    MalformedTrust,
    ThresholdNotMet,
    TrustRefused,
    WeakKey,
    WrongTrustVersion,
)
from bundle.trust.keys import MemoryKey
from bundle.trust.trust_file import Kept, Revocation, Trust, TrustView
from bundle.wire.errors import UnknownKey
from bundle.wire.manifest import Kind
from bundle.wire.read import peek_trust

MakeKey = Callable[[int], MemoryKey]


@pytest.fixture
def roots(make_key: MakeKey) -> list[MemoryKey]:
    return [make_key(number) for number in range(20, 26)]


@pytest.fixture
def two_of_three(make_key: MakeKey, roots: list[MemoryKey]) -> Trust:
    return Trust(
        1,
        tuple(one.public for one in roots[:3]),
        2,
        (make_key(30).public,),
        (make_key(31).public,),
        (Revocation(make_key(32).public, (Kept(b"s" * 16, IntervalSet(((0, 3),)), b"h" * 32),)),),
    )


def test_a_trust_file_is_read_back(two_of_three: Trust, roots: list[MemoryKey]) -> None:
    raw = trust_file.encode(two_of_three, roots[:2])
    assert replace(trust_file.verify(raw), raw=b"") == two_of_three


def test_the_threshold_counts_different_keys(two_of_three: Trust, roots: list[MemoryKey]) -> None:
    for signers in (
        roots[:1],
        [roots[0]] * 3,
        [roots[0], roots[4]],
        [roots[0], roots[0], roots[5]],
    ):
        with pytest.raises(ThresholdNotMet, match="1 of the new root keys signed, 2 needed"):
            trust_file.verify(trust_file.encode(two_of_three, signers))
    assert trust_file.verify(trust_file.encode(two_of_three, [roots[0], roots[0], roots[2]]))


def test_a_key_listed_twice_or_in_two_roles_is_refused(
    two_of_three: Trust, roots: list[MemoryKey]
) -> None:
    first, second = two_of_three.roots[:2]
    for changed in (
        {"roots": (first, first, second)},
        {"centrals": (first,)},
        {"registrars": two_of_three.centrals},
        {"threshold": 0},
        {"threshold": 4},
        {"centrals": ()},
        {"registrars": ()},
        {"version": 0},
    ):
        with pytest.raises(MalformedTrust):
            trust_file.encode(replace(two_of_three, **changed), roots)


def test_a_weak_key_is_refused_in_every_role(two_of_three: Trust, roots: list[MemoryKey]) -> None:
    weak = b"\x01" + bytes(31)
    for changed in (
        {"roots": (weak,), "threshold": 1},
        {"centrals": (weak,)},
        {"registrars": (weak,)},
    ):
        with pytest.raises(WeakKey):
            trust_file.encode(replace(two_of_three, **changed), roots)


def test_the_next_version_needs_the_thresholds_of_both(
    two_of_three: Trust, roots: list[MemoryKey]
) -> None:
    current = trust_file.verify(trust_file.encode(two_of_three, roots[:2]))
    after = replace(current, version=2, roots=tuple(one.public for one in roots[3:]), raw=b"")
    both = trust_file.encode(after, [roots[0], roots[2], roots[3], roots[5]])
    assert trust_file.verify_next(current, both).version == 2
    with pytest.raises(ThresholdNotMet, match="current"):
        trust_file.verify_next(current, trust_file.encode(after, [roots[0], *roots[3:]]))
    with pytest.raises(ThresholdNotMet, match="new"):
        trust_file.verify_next(current, trust_file.encode(after, [*roots[:3], roots[3]]))


def test_signatures_are_gathered_one_root_at_a_time(
    two_of_three: Trust, roots: list[MemoryKey]
) -> None:
    raw = trust_file.encode(two_of_three, roots[:1])
    for _ in range(3):
        raw = trust_file.cosign(raw, roots[0])
    with pytest.raises(ThresholdNotMet):
        trust_file.verify(raw)
    assert trust_file.verify(trust_file.cosign(raw, roots[1]))


def test_versions_are_neither_skipped_nor_taken_back(
    two_of_three: Trust, roots: list[MemoryKey]
) -> None:
    def version(number: int) -> bytes:
        return trust_file.encode(replace(two_of_three, version=number), roots)

    second = trust_file.verify(version(2))
    for number in (1, 2, 4, 2**40):
        with pytest.raises(WrongTrustVersion, match=f"{number} cannot follow version 2"):
            trust_file.verify_next(second, version(number))


def test_a_chain_catches_up_and_passes_over_what_is_known(
    two_of_three: Trust, roots: list[MemoryKey]
) -> None:
    files = [trust_file.encode(replace(two_of_three, version=n), roots) for n in range(1, 6)]
    current = trust_file.verify(files[1])
    assert trust_file.advance(current, trust_file.encode_chain(files)).version == 5
    assert trust_file.advance(current, trust_file.encode_chain(files[:2])) == current
    with pytest.raises(WrongTrustVersion):
        trust_file.advance(current, trust_file.encode_chain([files[2], files[4]]))
    for chain in (b"", b"\x91\x01", canonical.encode([b"x"])):
        with pytest.raises(MalformedTrust):
            trust_file.advance(current, chain)


def test_a_site_that_missed_three_rotations_catches_up_from_the_next_bundle(
    cast: Any, make_key: MakeKey
) -> None:
    chain, signer = [], make_key(0)
    for version in (2, 3, 4):
        signer = make_key(40 + version)
        turned = replace(cast.trust, version=version, centrals=(signer.public,))
        chain.append(trust_file.encode(turned, [cast.root]))
    draft = cast.draft(Kind.WORK, trust=trust_file.encode_chain(chain))
    path = cast.pack([], draft, signer)
    with pytest.raises(UnknownKey):
        cast.open(path)
    caught_up = trust_file.advance(trust_file.verify(cast.trust_bytes), peek_trust(path))
    cast.open(path, trust=TrustView(caught_up)).close()


def test_every_bit_flip_of_a_trust_file_is_refused(cast: Any) -> None:
    for bit in range(8 * len(cast.trust_bytes)):
        flipped = bytearray(cast.trust_bytes)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TrustRefused):
            trust_file.verify(bytes(flipped))


def test_fields_that_this_version_does_not_know_are_refused(
    two_of_three: Trust, roots: list[MemoryKey]
) -> None:
    record = canonical.decode(trust_file.encode(two_of_three, roots), SMALL_LIMITS)
    body = canonical.decode(record["body"], SMALL_LIMITS) | {"alg": "none"}
    with pytest.raises(MalformedTrust, match="unknown"):
        trust_file.verify(canonical.encode(record | {"body": canonical.encode(body)}))
    with pytest.raises(MalformedTrust, match="other fields"):
        trust_file.verify(canonical.encode(record | {"alg": "none"}))


def test_the_quick_start_makes_an_authority_whose_root_lies_apart(tmp_path: Path) -> None:
    root_dir, central_dir = tmp_path / "c-root", tmp_path / "c"
    made = quickstart.make_authority(root_dir, central_dir)
    view = TrustView.load(central_dir / "trust")
    assert view.central_keys() == {made.central.public, made.central_next.public}
    assert view.trust == made.trust
    assert [one.name for one in root_dir.iterdir()] == ["root.key"]
    assert all(one.stat().st_mode & 0o077 == 0 for one in central_dir.glob("*.key"))
    assert root_dir.stat().st_mode & 0o077 == 0
    with pytest.raises(KeyFileRefused, match="already"):
        quickstart.make_authority(root_dir, central_dir)


def test_a_missing_or_damaged_trust_file_names_its_path(tmp_path: Path) -> None:
    (tmp_path / "trust").write_bytes(b"x")
    for path in (tmp_path / "trust", tmp_path / "none"):
        with pytest.raises(MalformedTrust, match=str(path)):
            TrustView.load(path)
