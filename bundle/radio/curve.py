"""CURVE's keys without ZeroMQ: what a pilot writes into its claim before it needs any socket."""

from __future__ import annotations

import os

SECRET_BYTES = 32


def new_secret() -> bytes:
    """Return a new secret key, 32 bytes."""
    return os.urandom(SECRET_BYTES)


def public_of(secret: bytes) -> bytes:
    """Return the public key of a secret one, 32 bytes each."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
