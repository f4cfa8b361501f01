"""The submission bundle: a user's dataset document, signed, for a courier to carry to central.

Its producer is the user's public key in hex; each bundle is a stream of its own. The bundle's id is
the idempotency key: however often it arrives, it is one dataset.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bundle.dataset import spec
from bundle.errors import PulkError
from bundle.ids import BundleId, StreamId
from bundle.spool import publish
from bundle.trust import cosignature
from bundle.trust.cosignature import Cosignature
from bundle.trust.keys import Signer
from bundle.wire.manifest import CENTRAL, Kind, ManifestDraft
from bundle.wire.read import OpenBundle
from bundle.wire.write import ChunkSource, write_bundle
from central.errors import MalformedContent


class SubmissionExists(PulkError):
    """A submission bundle was to be written over a file. It may be one that was not carried yet."""

    code = "submission-exists"
    what = "there is a file of that name"
    remedy = "carry that one, or name another file: that would submit the dataset once more"


@dataclass(frozen=True, slots=True)
class Given:
    """What is submitted: the canonical document, with who co-signed it and who signed for it."""

    raw: bytes
    cosignature: bytes = b""  # a signed record (`bundle.trust.cosignature`)
    user: bytes = b""  # the public key that signed the submission bundle


def write(
    path: Path, given: Given, signer: Signer, *, stream: StreamId, created_us: int
) -> BundleId:
    """Write a submission bundle to `path`, whole and synced; `given.user` is not looked at.

    Raises SubmissionExists, DraftRefused, OSError.
    """
    if path.exists():
        raise SubmissionExists(where=str(path))
    name = spec.dataset_digest(given.raw).hex()
    chunks = [ChunkSource("dataset", name, 1, given.raw)]
    if given.cosignature:
        chunks.append(ChunkSource(cosignature.CHUNK, name, 1, given.cosignature))
    draft = ManifestDraft(
        kind=Kind.SUBMISSION,
        producer=signer.public.hex(),
        stream=stream,
        sequence=0,
        created_us=created_us,
        audience=CENTRAL,
    )
    made = write_bundle(path, draft, chunks, signer)
    with contextlib.suppress(OSError):  # some media cannot sync a folder
        publish.fsync_folder(path.parent)
    return made


def read(bundle: OpenBundle) -> Given:
    """Return what a verified submission bundle brings; every chunk of it is verified.

    Raises MalformedContent, BundleRefused.
    """
    bundle.check_all()
    documents, signed = bundle.find("dataset"), bundle.find(cosignature.CHUNK)
    reason = ""
    if bundle.manifest.producer != bundle.signer_key.hex():
        reason = f"its producer is {bundle.manifest.producer!r}, not the key that signed it"
    elif len(documents) != 1 or len(signed) > 1:
        reason = "it needs one dataset document and at most one co-signature"
    if reason:
        raise MalformedContent(where=str(bundle.path), reason=reason)
    record = bundle.chunk(signed[0]) if signed else b""
    return Given(bundle.chunk(documents[0]), record, bundle.signer_key)


def joined(digest: bytes, records: Iterable[tuple[str, bytes]]) -> bytes:
    """Return one record of several (name, bytes), all over a document; empty where there is none.

    Raises CosignatureRefused, WeakKey.
    """
    found: list[Cosignature] = [
        cosignature.require(cosignature.read(raw, where=name), digest, where=name)
        for name, raw in records
    ]
    return cosignature.encode(cosignature.join(found)) if found else b""
