"""A public key as people give it: 64 hex digits, or a file that holds them."""

from __future__ import annotations

import re
from pathlib import Path

from bundle.trust.errors import TrustRefused
from bundle.trust.keys import check_public

FILE_BYTES_MAX = 4096
_HEX = re.compile(r"[0-9A-Fa-f]{64}")


class PublicKeyRefused(TrustRefused):
    """What was given is neither 64 hex digits nor a file that starts with them."""

    code = "public-key-refused"
    what = "no public key: {reason}"
    remedy = (
        "give the 64 hex digits of `pulk keys show FILE --json`, or a file that starts with them"
    )


def read(given: str, folder: Path | None = None) -> bytes:
    """Return the public key (32 bytes) that a person gave.

    Args:
        given: 64 hex digits, or the path of a text file whose first word they are.
        folder: what a relative path is relative to; None is the current folder.

    Raises PublicKeyRefused, WeakKey.
    """
    if _HEX.fullmatch(given):
        return check_public(bytes.fromhex(given), where=given)
    path = Path(given) if folder is None else folder / given
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX).decode("ascii")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the file is not plain text"
        raise PublicKeyRefused(where=given, reason=reason) from error
    words = text.split()
    if not words or not _HEX.fullmatch(words[0]):
        reason = "the file does not start with 64 hex digits"
        raise PublicKeyRefused(where=given, reason=reason)
    return check_public(bytes.fromhex(words[0]), where=given)
