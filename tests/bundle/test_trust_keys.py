"""Keys that would accept forgeries are refused, and private keys never lie open."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bundle.trust import keys
from bundle.trust.errors import KeyFileRefused, WeakKey
from bundle.trust.keys import KeyFile, MemoryKey, Role, check_public, verify
from bundle.wire.preauth import pae
from tests.attacks.curve import ORDER, PRIME, TORSION, encodings

MakeKey = Callable[[int], MemoryKey]


def test_every_encoding_of_every_small_order_point_is_refused() -> None:
    weak = set().union(*(encodings(point) for point in TORSION))
    assert len(weak) == 14
    for public in weak:
        with pytest.raises(WeakKey):
            check_public(public)


def test_no_forgery_under_a_small_order_key_is_accepted() -> None:
    """R = point of small order, S = 0: the `cryptography` package accepts some of these."""
    accepted_by_library = 0
    points = [encoding for point in TORSION for encoding in encodings(point)]
    for public in points:
        for number in range(64):
            message = b"message %d" % number
            for commitment in points[:4]:
                signature = commitment + bytes(32)
                assert not verify(public, message, signature)
                try:
                    Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
                    accepted_by_library += 1
                except InvalidSignature:
                    pass
    assert accepted_by_library > 0  # else this guard would no longer be needed


def test_a_right_signature_is_accepted_and_a_wrong_one_is_not(make_key: MakeKey) -> None:
    signer, message = make_key(1), b"message"
    signature = signer.sign(message)
    assert verify(signer.public, message, signature)
    assert not verify(signer.public, message + b"!", signature)
    assert not verify(make_key(2).public, message, signature)
    assert check_public(signer.public) == signer.public


def test_a_signature_has_one_form(make_key: MakeKey) -> None:
    signer, message = make_key(1), b"message"
    good = signer.sign(message)
    commitment, scalar = good[:32], int.from_bytes(good[32:], "little")
    for n in range(1, 15):
        other = commitment + (scalar + n * ORDER).to_bytes(32, "little")
        assert not verify(signer.public, message, other)
    for other in (good + b"\0", good[:-1], b"", good[:32]):
        assert not verify(signer.public, message, other)
    for bit in range(512):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not verify(signer.public, message, bytes(flipped))


def test_a_public_key_has_one_form(make_key: MakeKey) -> None:
    signature = make_key(1).sign(b"m")
    for public in (
        make_key(1).public + b"\0",
        make_key(1).public[:-1],
        b"",
        (PRIME + 3).to_bytes(32, "little"),
        (PRIME + 3 | 1 << 255).to_bytes(32, "little"),
        b"\xff" * 32,
    ):
        assert not verify(public, b"m", signature)
        with pytest.raises(WeakKey):
            check_public(public, where="request")


def test_the_encoding_before_signing_tells_type_from_body() -> None:
    assert pae("ab", b"c") == b"DSSEv1 2 ab 1 c"
    seen = {pae(name, body) for name, body in (("a", b"b c"), ("a b", b"c"), ("a 1", b"b"))}
    assert len(seen) == 3
    assert pae("t", b"") == b"DSSEv1 1 t 0 "


def test_a_key_file_is_its_owners_alone_from_its_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    real = os.open

    def spy(path: str, flags: int, mode: int = 0o777, **rest: int) -> int:
        if flags & os.O_CREAT:
            modes.append(mode)
        return real(path, flags, mode, **rest)

    monkeypatch.setattr(os, "open", spy)
    before = os.umask(0)
    try:
        KeyFile.create(tmp_path / "k", Role.SITE)
    finally:
        os.umask(before)
    assert modes == [0o600]
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["k"]


def test_a_key_file_is_read_back_and_signs_the_same(tmp_path: Path) -> None:
    made = KeyFile.create(tmp_path / "k", Role.SITE)
    read = KeyFile.load(tmp_path / "k", Role.SITE)
    assert read.public == made.public
    assert read.sign(b"m") == made.sign(b"m")
    secret = os.urandom(32)
    known = KeyFile.create(tmp_path / "known", Role.SITE, seed=secret)
    assert secret in (tmp_path / "known").read_bytes()
    assert not any(one in repr(known) for one in (secret.hex(), repr(secret), str(list(secret))))
    with pytest.raises(KeyFileRefused, match="it is a site key, a central key is needed"):
        KeyFile.load(tmp_path / "k", Role.CENTRAL)


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    made = KeyFile.create(tmp_path / "k", Role.SITE)
    with pytest.raises(KeyFileRefused, match="there is a key already"):
        KeyFile.create(tmp_path / "k", Role.SITE)
    assert KeyFile.load(tmp_path / "k").public == made.public
    assert len(list(tmp_path.iterdir())) == 1


def test_a_key_is_made_on_a_stick_without_hard_links_and_never_replaced_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    made = KeyFile.create(tmp_path / "k", Role.ROOT)
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    with pytest.raises(KeyFileRefused, match="there is a key already"):
        KeyFile.create(tmp_path / "k", Role.ROOT)
    assert KeyFile.load(tmp_path / "k").public == made.public
    assert [one.name for one in tmp_path.iterdir()] == ["k"]


def test_a_key_file_that_others_could_have_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k"
    KeyFile.create(path, Role.SITE)
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(KeyFileRefused, match="others"):
            KeyFile.load(path)
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "pipe", "missing", "."):
        with pytest.raises(KeyFileRefused):
            KeyFile.load(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"", b"\x80", b"x" * 3000, b"\x82\xa4role\xa4site\xa4seed\x01"]
)
def test_a_damaged_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "k"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(KeyFileRefused, match="damaged"):
        KeyFile.load(path)


def test_keys_in_memory_differ() -> None:
    assert keys.MemoryKey.generate().public != keys.MemoryKey.generate().public
