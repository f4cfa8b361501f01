"""Bytes that are much like others at hand, kept as what they differ in.

What one bundle leases of a dataset says the same ids, digests and hashes over and over.
"""

from __future__ import annotations

import zlib

from bundle.canonical import NotCanonical

PATTERN_BYTES_MAX = 4 << 10  # it is read again with all that is like it
LIKE_BYTES_MAX = 16 << 10
_LEVEL = 6
_RAW_DEFLATE = -15


def difference(raw: bytes, pattern: bytes) -> bytes | None:
    """Return what `restored` makes `raw` of; None where it is not worth it, or one is too large."""
    if not 0 < len(pattern) <= PATTERN_BYTES_MAX or len(raw) > LIKE_BYTES_MAX:
        return None
    packer = zlib.compressobj(_LEVEL, wbits=_RAW_DEFLATE, zdict=pattern)
    found = packer.compress(raw) + packer.flush()
    return found if 2 * len(found) <= len(raw) else None


def restored(differs: bytes, pattern: bytes) -> bytes:
    """Return the bytes again. Raises NotCanonical where they were damaged."""
    unpacker = zlib.decompressobj(_RAW_DEFLATE, zdict=pattern)
    try:
        found = unpacker.decompress(differs, LIKE_BYTES_MAX)
    except zlib.error as error:
        raise NotCanonical(where="lease", reason=str(error)) from error
    if not unpacker.eof:
        raise NotCanonical(where="lease", reason="it ends too early")
    return found
