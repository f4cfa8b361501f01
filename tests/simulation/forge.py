"""What couriers and insiders make of a bundle: torn, with another byte, signed by somebody else."""

from __future__ import annotations

import os
import random
from dataclasses import fields
from pathlib import Path
from typing import Any

from bundle.limits import BUNDLE_BYTES_MAX
from bundle.trust.keys import Signer
from bundle.trust.trust_file import TrustView
from bundle.wire import manifest as manifests
from bundle.wire.manifest import Kind, Manifest, ManifestDraft
from bundle.wire.read import open_bundle, open_plain, read_parts
from bundle.wire.write import ChunkSource, write_bundle


def torn(raw: bytes, chance: random.Random) -> bytes:
    """Return the beginning of a bundle's file."""
    return raw[: chance.randrange(len(raw))]


def flipped(raw: bytes, chance: random.Random) -> bytes:
    """Return a bundle's file with one bit changed."""
    place = chance.randrange(len(raw))
    return raw[:place] + bytes([raw[place] ^ (1 << chance.randrange(8))]) + raw[place + 1 :]


def signed_again(
    raw: bytes, trust: TrustView, signer: Signer, folder: Path, **changes: Any
) -> bytes:
    """Return a bundle that says the same but for some fields, signed with another key."""
    path = folder / os.urandom(8).hex()
    path.write_bytes(raw)
    try:
        with open_bundle(path, trust, audience=None, kinds=frozenset(Kind)) as bundle:
            manifest = bundle.manifest
            chunks = [
                ChunkSource(one.kind, one.name, one.records, bundle.chunk(place))
                for place, one in enumerate(manifest.chunks)
            ]
        said = {one.name: getattr(manifest, one.name) for one in fields(ManifestDraft)}
        path.unlink()
        write_bundle(path, ManifestDraft(**(said | changes)), chunks, signer)
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


def manifest_of(path: Path) -> Manifest:
    """Return a bundle's manifest, nothing verified. Raises BundleRefused."""
    descriptor, size = open_plain(path, BUNDLE_BYTES_MAX)
    try:
        _, parts = read_parts(descriptor, size, str(path), frozenset(Kind))
        return manifests.decode(parts[0])
    finally:
        os.close(descriptor)


def manifest_in(raw: bytes, folder: Path) -> Manifest:
    """Return the manifest of a bundle's bytes, nothing verified. Raises BundleRefused."""
    path = folder / os.urandom(8).hex()
    path.write_bytes(raw)
    try:
        return manifest_of(path)
    finally:
        path.unlink()
