"""Keys: signers in memory and in files of mode 0600, and strict verification.

The `cryptography` package accepts signatures under Ed25519's small-order points, for which anybody
can forge; such keys and every non-canonical form are refused here, at enrolment and verification.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bundle import canonical, shape
from bundle.limits import ParseLimits
from bundle.spool.publish import fsync_folder
from bundle.trust.errors import KeyFileRefused, WeakKey

PUBLIC_BYTES = 32
SEED_BYTES = 32
SIGNATURE_BYTES = 64
KEY_FILE_LIMITS = ParseLimits(1024, 16)
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})

_PRIME = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_SIGN_BIT = 1 << 255
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = frozenset({0, 1, _PRIME - 1, _ORDER_8, _PRIME - _ORDER_8})  # y of all 8 points


class Role(StrEnum):
    """What a key is for; a key has one role."""

    ROOT = "root"
    CENTRAL = "central"
    REGISTRAR = "registrar"
    SITE = "site"
    PILOT = "pilot"
    USER = "user"
    COURIER = "courier"


class Signer(Protocol):
    """Something that signs: a key in memory, in a file, or in a device."""

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""

    def sign(self, data: bytes) -> bytes:
        """Return the signature over data, 64 bytes."""


class MemoryKey:
    """A private key that lives in this process only."""

    __slots__ = ("_key", "_public")

    def __init__(self, seed: bytes) -> None:
        """Make the key of a 32 bytes seed."""
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> MemoryKey:
        """Make a key from the system's random source."""
        return cls(os.urandom(SEED_BYTES))

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._public

    def sign(self, data: bytes) -> bytes:
        """Return the signature over data, 64 bytes."""
        return self._key.sign(data)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A private key in a file that only its owner can read."""

    path: Path
    role: Role
    key: MemoryKey = field(repr=False)

    @classmethod
    def create(cls, path: Path, role: Role, *, seed: bytes | None = None) -> KeyFile:
        """Make a new key file; it is never readable by others and is whole or absent.

        Where a filesystem has no hard links, a crash can leave a damaged one, which is refused.

        Raises:
            KeyFileRefused: there is a file already, or the folder cannot be written.
        """
        seed = os.urandom(SEED_BYTES) if seed is None else seed
        raw = canonical.encode({"role": role.value, "seed": seed})
        part = path.with_name(f".{path.name}.{os.urandom(6).hex()}.part")
        try:
            _write_private(part, raw)
            try:
                path.hardlink_to(part)  # unlike rename, refuses to replace a key
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                _write_private(
                    path, raw
                )  # a stick with FAT: exclusive too, but not whole or absent
            finally:
                part.unlink()
            fsync_folder(path.parent)
        except FileExistsError:
            raise KeyFileRefused(where=str(path), reason="there is a key already") from None
        except OSError as error:
            raise KeyFileRefused(where=str(path), reason=error.strerror or str(error)) from error
        return cls(path, role, MemoryKey(seed))

    @classmethod
    def load(cls, path: Path, role: Role | None = None) -> KeyFile:
        """Read a key file. Raises KeyFileRefused, also where others could have read it."""
        where = str(path)
        raw = _read_private(path)
        try:
            value = shape.Reader.of(canonical.decode(raw, KEY_FILE_LIMITS, where=where), where)
            found = Role(value.text("role"))
            seed = value.bytes("seed", SEED_BYTES)
        except (canonical.NotCanonical, shape.WrongShape, ValueError) as error:
            raise KeyFileRefused(where=where, reason="the file is damaged") from error
        if role is not None and found is not role:
            reason = f"it is a {found.value} key, a {role.value} key is needed"
            raise KeyFileRefused(where=where, reason=reason)
        return cls(path, found, MemoryKey(seed))

    def copy_to(self, path: Path) -> KeyFile:
        """Make a second key file of the same key. Raises KeyFileRefused."""
        raw = _read_private(self.path)
        seed = shape.Reader.of(canonical.decode(raw, KEY_FILE_LIMITS), "key").bytes("seed")
        return KeyFile.create(path, self.role, seed=seed)

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self.key.public

    def sign(self, data: bytes) -> bytes:
        """Return the signature over data, 64 bytes."""
        return self.key.sign(data)


def check_public(public: bytes, *, where: str = "") -> bytes:
    """Return a public key that may be trusted. Raises WeakKey for any other bytes."""
    if len(public) != PUBLIC_BYTES:
        reason = f"{len(public)} bytes, not {PUBLIC_BYTES}"
        raise WeakKey(where=where, key=public[:PUBLIC_BYTES].hex(), reason=reason)
    reason = _weakness(public)
    if reason:
        raise WeakKey(where=where, key=public.hex(), reason=reason)
    return public


def verify(public: bytes, data: bytes, signature: bytes) -> bool:
    """Return whether a signature is right: exact lengths, S < L, canonical, no small order."""
    if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES or _weakness(public):
        return False
    if int.from_bytes(signature[32:], "little") >= _ORDER:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _weakness(public: bytes) -> str:
    y = int.from_bytes(public, "little") % _SIGN_BIT
    if y >= _PRIME:
        return "not the canonical encoding of a point"
    if y in _SMALL_ORDER:
        return "a point of small order"
    return ""


def _write_private(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_private(path: Path) -> bytes:
    where = str(path)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise KeyFileRefused(where=where, reason="it is not a plain file")
            if state.st_mode & 0o077:
                raise KeyFileRefused(where=where, reason="others can read it")
            if state.st_uid not in (os.geteuid(), 0):
                raise KeyFileRefused(where=where, reason="it belongs to somebody else")
            return file.read(KEY_FILE_LIMITS.bytes_max + 1)
    except OSError as error:
        raise KeyFileRefused(where=where, reason=error.strerror or str(error)) from error
