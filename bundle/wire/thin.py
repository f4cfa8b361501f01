"""Copies of one bundle that hold different chunks: deltas, parts, and the whole put together.

All copies have the same manifest and signatures, so one id, and each verifies alone. Nothing here
needs a key: what comes out is verified by whoever reads it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bundle.limits import BUNDLE_BYTES_MAX, MIB
from bundle.spool import publish
from bundle.wire import header
from bundle.wire import manifest as manifests
from bundle.wire.chunk import raw_bytes
from bundle.wire.errors import BundleRefused, NotOneBundle
from bundle.wire.header import NO_DIGEST, Codec, Header, Place
from bundle.wire.manifest import Kind, Manifest
from bundle.wire.read import open_plain, read_parts, read_places
from bundle.wire.stored import read_at


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a bundle, open, nothing of it verified."""

    path: Path
    descriptor: int
    head: Header
    signed: bytes  # manifest and signatures as they lie in the file
    manifest: Manifest
    places: tuple[Place, ...]

    def holds(self, place: int) -> bool:
        """Return whether the copy comes with a chunk whose bytes are those of the manifest."""
        entry = self.manifest.chunks[place]
        try:
            for _ in raw_bytes(self.descriptor, self.places[place], entry, place, str(self.path)):
                pass
        except BundleRefused:
            return False
        return True


@contextmanager
def opened(path: Path) -> Iterator[Copy]:
    """Open a copy of a bundle without verifying it. Raises BundleRefused."""
    where = str(path)
    descriptor, size = open_plain(path, BUNDLE_BYTES_MAX)
    try:
        head, parts = read_parts(descriptor, size, where, frozenset(Kind))
        manifest = manifests.decode(parts[0], where=where)
        places = read_places(descriptor, head, manifest, where)
        yield Copy(path, descriptor, head, b"".join(parts), manifest, places)
    finally:
        os.close(descriptor)


def write_thin(source: Path, to: Path, keep: Container[int]) -> None:
    """Write a copy of a bundle that holds only the chunks at the places in `keep`.

    `to` appears whole and synced; its folder's sync is the caller's. Raises BundleRefused, OSError.
    """
    with opened(source) as whole:
        chosen = [whole if place in keep else None for place in range(len(whole.places))]
        _write(to, whole, chosen)


def join(to: Path, sources: Sequence[Path]) -> list[int]:
    """Write what all these copies of one bundle hold together; return what is still absent.

    Chunks whose stored bytes are damaged are taken from another copy. `to` may be among the
    sources; it appears whole and synced.

    Raises:
        NotOneBundle: a source is a copy of another bundle.
        BundleRefused, OSError: a source can't be read as a bundle at all.
    """
    with ExitStack() as stack:
        copies = [stack.enter_context(opened(path)) for path in sources]
        first = copies[0]
        for other in copies[1:]:
            if other.signed != first.signed or other.head.kind is not first.head.kind:
                raise NotOneBundle(where=str(other.path), first=str(first.path))
        chosen = [
            next((copy for copy in copies if copy.holds(place)), None)
            for place in range(len(first.places))
        ]
        _write(to, first, chosen)
    return [place for place, copy in enumerate(chosen) if copy is None]


def fill(source: Path, to: Path, bodies: Mapping[int, bytes]) -> None:
    """Write a copy of a bundle with the raw bytes of absent chunks put in, by place.

    `to` appears whole and synced; its folder's sync is the caller's. Raises BundleRefused, OSError.
    """
    with opened(source) as copy:
        chosen = [
            bodies.get(place) if one.codec is Codec.ABSENT else copy
            for place, one in enumerate(copy.places)
        ]
        _write(to, copy, chosen)


def _write(to: Path, like: Copy, chosen: Sequence[Copy | bytes | None]) -> None:
    """Write head and signed parts of `like`, and each chunk out of its copy or from raw bytes."""
    rows = [_row(place, one) for place, one in enumerate(chosen)]
    total = like.head.bodies_at + sum(row[1] for row in rows)
    sizes = (like.head.manifest_bytes, like.head.signatures_bytes, like.head.chunks)
    head = Header(like.head.format, like.head.reader_min, like.head.kind, *sizes, total)
    with publish.replacing(to) as out:
        out.write(header.pack(head) + like.signed + header.pack_table(rows))
        for place, one in enumerate(chosen):
            if isinstance(one, Copy):
                _copy(one, one.places[place], out)
            elif one is not None:
                out.write(one)


def _row(place: int, one: Copy | bytes | None) -> tuple[Codec, int, bytes]:
    if one is None:
        return Codec.ABSENT, 0, NO_DIGEST
    if isinstance(one, bytes):
        return Codec.STORED, len(one), hashlib.sha256(one).digest()
    found = one.places[place]
    return found.codec, found.stored_bytes, found.digest


def _copy(copy: Copy, place: Place, out: IO[bytes]) -> None:
    for at in range(0, place.stored_bytes, MIB):
        count = min(MIB, place.stored_bytes - at)
        out.write(read_at(copy.descriptor, place.at + at, count, str(copy.path)))
