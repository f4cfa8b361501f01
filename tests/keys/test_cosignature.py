"""Co-signatures of a dataset document: what counts, once, and what is refused as a whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.limits import SIGNATURES_MAX
from bundle.trust import cosignature, public_key, signed
from bundle.trust.cosignature import CosignatureRefused
from bundle.trust.errors import TrustRefused, WeakKey
from bundle.trust.keys import KeyFile, MemoryKey, Role
from bundle.trust.public_key import PublicKeyRefused
from bundle.trust.signed import Signature, Signed
from bundle.wire import preauth
from bundle.wire.manifest import Kind
from bundle.wire.preauth import DATASET_TYPE

DOCUMENT, OTHER = b"d" * 32, b"o" * 32
KEYS = [MemoryKey(bytes([number]) * 32) for number in range(1, SIGNATURES_MAX + 2)]
SMALL_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
]


def record(body: bytes, payload_type: str, *keys: MemoryKey) -> bytes:
    return signed.encode(signed.sign(payload_type, body, keys))


@given(st.lists(st.sets(st.sampled_from(KEYS[:6]), min_size=1), min_size=1), st.randoms())
def test_joining_in_any_order_and_repetition_gives_the_same_bytes(
    groups: list[set[MemoryKey]], random: object
) -> None:
    records = [cosignature.encode(cosignature.make(DOCUMENT, group)) for group in groups]
    random.shuffle(records)  # type: ignore[attr-defined]
    joined = cosignature.join([cosignature.read(one) for one in records + records[:1]])
    every = {key.public for group in groups for key in group}
    assert joined.keys == every
    whole = cosignature.make(DOCUMENT, [key for key in KEYS if key.public in every])
    assert cosignature.encode(joined) == cosignature.encode(whole)
    assert cosignature.read(cosignature.encode(joined)) == joined


def test_a_key_that_signed_twice_counts_once() -> None:
    found = cosignature.read(record(DOCUMENT, DATASET_TYPE, KEYS[0], KEYS[0]))
    assert len(found.signatures) == 1
    assert found.keys == {KEYS[0].public}


def test_a_cosignature_of_another_document_does_not_count() -> None:
    one, other = cosignature.make(DOCUMENT, KEYS[:1]), cosignature.make(OTHER, KEYS[1:2])
    assert cosignature.require(one, DOCUMENT) is one
    with pytest.raises(CosignatureRefused, match=DOCUMENT.hex()):
        cosignature.require(other, DOCUMENT)
    with pytest.raises(CosignatureRefused, match="different documents"):
        cosignature.join([one, other])


@pytest.mark.parametrize(
    "payload_type",
    [
        preauth.CERTIFICATE_TYPE,
        preauth.TRUST_TYPE,
        preauth.ENROLMENT_TYPE,
        preauth.REQUEST_TYPE,
        "pulk/segment/1",
        *map(preauth.bundle_type, Kind),
    ],
)
def test_a_signature_over_another_payload_type_is_refused(payload_type: str) -> None:
    with pytest.raises(CosignatureRefused, match="does not hold"):
        cosignature.read(record(DOCUMENT, payload_type, KEYS[0]))


def test_one_wrong_signature_refuses_the_whole_record() -> None:
    good = signed.sign(DATASET_TYPE, DOCUMENT, KEYS[:2])
    stolen = replace(good.signatures[1], key=KEYS[2].public)
    with pytest.raises(CosignatureRefused, match=KEYS[2].public.hex()):
        cosignature.read(signed.encode(replace(good, signatures=(good.signatures[0], stolen))))


@pytest.mark.parametrize("key", SMALL_ORDER)
def test_keys_for_which_anybody_can_sign_are_refused(key: bytes) -> None:
    for signature in (key + bytes(32), bytes([1]) + bytes(63), bytes(64)):
        forged = Signed(DOCUMENT, (Signature(key, signature),))
        with pytest.raises(WeakKey):
            cosignature.read(signed.encode(forged))


def test_every_flipped_bit_is_refused() -> None:
    raw = cosignature.encode(cosignature.make(DOCUMENT, KEYS[:1]))
    for at in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(TrustRefused):
            cosignature.read(bytes(flipped))


@pytest.mark.parametrize("body", [b"", b"d" * 31, b"d" * 33])
def test_what_is_no_digest_is_refused(body: bytes) -> None:
    with pytest.raises(CosignatureRefused, match="not over a digest"):
        cosignature.read(record(body, DATASET_TYPE, KEYS[0]))


def test_a_certificate_has_no_place_in_it() -> None:
    good = signed.sign(DATASET_TYPE, DOCUMENT, KEYS[:1])
    with_certificate = replace(good.signatures[0], certificate=b"x")
    with pytest.raises(CosignatureRefused, match="certificate"):
        cosignature.read(signed.encode(replace(good, signatures=(with_certificate,))))


def test_more_keys_than_a_record_holds_are_refused() -> None:
    most = cosignature.make(DOCUMENT, KEYS[:SIGNATURES_MAX])
    assert len(cosignature.read(cosignature.encode(most)).keys) == SIGNATURES_MAX
    with pytest.raises(CosignatureRefused, match="at most"):
        cosignature.join([most, cosignature.make(DOCUMENT, KEYS[-1:])])


def test_a_public_key_is_read_from_hex_or_from_a_file_that_begins_with_it(tmp_path: Path) -> None:
    public = KEYS[0].public
    (tmp_path / "anna.pub").write_text(f"{public.hex()} anna\n")
    assert public_key.read(public.hex()) == public
    assert public_key.read(public.hex().upper()) == public
    assert public_key.read(str(tmp_path / "anna.pub")) == public
    assert public_key.read("anna.pub", tmp_path) == public


def test_what_is_no_public_key_is_refused(tmp_path: Path) -> None:
    private = KeyFile.create(tmp_path / "anna.key", Role.USER)
    (tmp_path / "empty.pub").write_text("")
    for given_ in (str(private.path), str(tmp_path / "none"), str(tmp_path / "empty.pub"), "ab"):
        with pytest.raises(PublicKeyRefused):
            public_key.read(given_)
    with pytest.raises(WeakKey):
        public_key.read(SMALL_ORDER[1].hex())
