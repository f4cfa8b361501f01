"""What `pulk dataset` signs with a user's key: submission bundles and co-signatures."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bundle.dataset import spec
from bundle.ids import STREAM_ID_BYTES, StreamId
from bundle.limits import SMALL_LIMITS
from bundle.spool import publish
from bundle.trust import cosignature
from bundle.trust.keys import KeyFile, Role
from central import submission
from central.home import now_us
from central.submission import Given


def given(raw: bytes, files: Iterable[Path]) -> Given:
    """Return a document with the co-signatures in files, checked and joined.

    Raises CosignatureRefused, WeakKey, OSError.
    """
    records = [(str(path), _read(path)) for path in files]
    return Given(raw, submission.joined(spec.dataset_digest(raw), records))


def write_bundle(given: Given, path: Path, key: Path) -> dict[str, Any]:
    """Write a submission bundle signed by a user's key; return what was made.

    Raises KeyFileRefused, SubmissionExists, DraftRefused, OSError.
    """
    signer = KeyFile.load(key, Role.USER)
    stream = StreamId(os.urandom(STREAM_ID_BYTES))
    made = submission.write(path, given, signer, stream=stream, created_us=now_us())
    digest = spec.dataset_digest(given.raw).hex()
    about = {"bundle": made, "file": str(path), "bytes": path.stat().st_size}
    return about | {"digest": digest, "key": signer.public.hex()}


def cosign(digest: bytes, key: Path, out: Path) -> dict[str, Any]:
    """Write a user's co-signature of a document's digest to a file; return what was made.

    Raises KeyFileRefused, OSError.
    """
    signer = KeyFile.load(key, Role.USER)
    raw = cosignature.encode(cosignature.make(digest, [signer]))
    with publish.replacing(out) as file:
        file.write(raw)
    return {"file": str(out), "digest": digest.hex(), "key": signer.public.hex()}


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(SMALL_LIMITS.bytes_max + 1)
