"""Copies of one bundle that hold different chunks: deltas, parts, and the whole put together.

All copies have the same manifest and signatures, so one id, and each verifies alone. Nothing here
needs a key: what comes out is verified by whoever reads it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bundle.limits import BUNDLE_BYTES_MAX, MIB
from bundle.spool import publish
from bundle.wire import header
from bundle.wire import manifest as manifests
from bundle.wire.chunk import raw_bytes
from bundle.wire.entries import ChunkEntry
from bundle.wire.errors import (
    BundleRefused,
    ChunkMismatch,
    NotOneBundle,
    TrailingBytes,
    Truncated,
)
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
def opened(path: Path, *, is_torn: bool = False) -> Iterator[Copy]:
    """Open a copy of a bundle without verifying it. Raises BundleRefused.

    With `is_torn` the file may end before or after the length that it declares: chunks beyond its
    end are held by no one.
    """
    with _opened(path, None, is_torn=is_torn) as copy:
        yield copy


def write_thin(source: Path, to: Path, keep: Container[int], *, is_torn: bool = False) -> None:
    """Write a copy of a bundle that holds only the chunks at the places in `keep`.

    `to` appears whole and synced; its folder's sync is the caller's. Raises BundleRefused, OSError.
    """
    with opened(source, is_torn=is_torn) as whole:
        places = enumerate(whole.places)
        chosen = [_Body(source, one, whole.descriptor) if n in keep else None for n, one in places]
        _write(to, whole, chosen)


def join(
    to: Path, sources: Sequence[Path], advance: Callable[[int], None] | None = None
) -> list[int]:
    """Write what all these copies of one bundle hold together; return what is still absent.

    Chunks that are damaged, or cut off, are taken from another copy; whatever is written was
    verified, and again while it was copied. One source is open at a time. `to` may be among them;
    it appears whole and synced. `advance` is told the stored bytes of each chunk that was found.

    Raises:
        NotOneBundle: a source is a copy of another bundle.
        ChunkMismatch: a source changed meanwhile.
        BundleRefused, OSError: a source can't be read as a bundle at all.
    """
    with _opened(sources[0], None, is_torn=True) as first:
        chosen: list[_Body | bytes | None] = [None] * len(first.places)
        for path in sources:
            with _opened(path, first, is_torn=True) as copy:
                for number, place in enumerate(copy.places):
                    if chosen[number] is None and copy.holds(number):
                        chosen[number] = _Body(path, place)
                        if advance is not None:
                            advance(place.stored_bytes)
        _write(to, first, chosen)
    return [place for place, body in enumerate(chosen) if body is None]


def fill(source: Path, to: Path, bodies: Mapping[int, bytes]) -> None:
    """Write a copy of a bundle with the raw bytes of absent chunks put in, by place.

    `to` appears whole and synced; its folder's sync is the caller's. Raises BundleRefused, OSError.
    """
    with opened(source) as copy:
        chosen = [
            bodies.get(place) if one.codec is Codec.ABSENT else _Body(source, one, copy.descriptor)
            for place, one in enumerate(copy.places)
        ]
        _write(to, copy, chosen)


@dataclass(frozen=True, slots=True)
class _Body:
    """A chunk's stored bytes in a file: an open one, or one to open and to verify while copying."""

    path: Path
    place: Place
    descriptor: int | None = None


@contextmanager
def _opened(path: Path, like: Copy | None, *, is_torn: bool) -> Iterator[Copy]:
    """Open a copy; with `like`, one of the same bundle, whose manifest is not read again."""
    where = str(path)
    descriptor, size = open_plain(path, BUNDLE_BYTES_MAX)
    try:
        try:
            head, parts = read_parts(descriptor, size, where, frozenset(Kind))
        except (Truncated, TrailingBytes) as error:
            if not is_torn:
                raise
            declared = int(error.fields["declared_bytes"])
            head, parts = read_parts(descriptor, declared, where, frozenset(Kind))
        signed = b"".join(parts)
        if like is None:
            manifest = manifests.decode(parts[0], where=where)
        elif (head.kind, head.manifest_bytes, signed) != _told_by(like):
            raise NotOneBundle(where=where, first=str(like.path))
        else:
            signed, manifest = like.signed, like.manifest
        del parts
        places = read_places(descriptor, head, manifest, where)
        yield Copy(path, descriptor, head, signed, manifest, places)
    finally:
        os.close(descriptor)


def _told_by(copy: Copy) -> tuple[Kind, int, bytes]:
    return copy.head.kind, copy.head.manifest_bytes, copy.signed


def _write(to: Path, like: Copy, chosen: Sequence[_Body | bytes | None]) -> None:
    """Write head and signed parts of `like`, and each chunk out of its file or from raw bytes."""
    rows = [_row(one) for one in chosen]
    total = like.head.bodies_at + sum(row[1] for row in rows)
    sizes = (like.head.manifest_bytes, like.head.signatures_bytes, like.head.chunks)
    head = Header(like.head.format, like.head.reader_min, like.head.kind, *sizes, total)
    with publish.replacing(to) as out:
        out.write(header.pack(head) + like.signed + header.pack_table(rows))
        out.writelines(_bodies(chosen, like.manifest.chunks))


def _row(one: _Body | bytes | None) -> tuple[Codec, int, bytes]:
    if one is None:
        return Codec.ABSENT, 0, NO_DIGEST
    if isinstance(one, bytes):
        return Codec.STORED, len(one), hashlib.sha256(one).digest()
    return one.place.codec, one.place.stored_bytes, one.place.digest


def _bodies(
    chosen: Iterable[_Body | bytes | None], entries: Sequence[ChunkEntry]
) -> Iterator[bytes]:
    """Yield the stored bytes of all chunks, in order; one file is open at a time."""
    path, descriptor = Path(), -1
    try:
        for number, one in enumerate(chosen):
            if isinstance(one, bytes):
                yield one
            elif one is not None and one.descriptor is not None:
                yield from _pieces(one.descriptor, one.place, one.path)
            elif one is not None:
                if descriptor < 0 or path != one.path:
                    if descriptor >= 0:
                        os.close(descriptor)
                        descriptor = -1
                    path = one.path
                    descriptor, _ = open_plain(path, BUNDLE_BYTES_MAX)
                running = hashlib.sha256()
                for piece in _pieces(descriptor, one.place, path):
                    running.update(piece)
                    yield piece
                if running.digest() != one.place.digest:
                    raise ChunkMismatch(
                        where=str(path),
                        place=number,
                        kind=entries[number].kind,
                        name=entries[number].name,
                        reason="it changed while it was copied",
                    )
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _pieces(descriptor: int, place: Place, path: Path) -> Iterator[bytes]:
    for at in range(0, place.stored_bytes, MIB):
        yield read_at(descriptor, place.at + at, min(MIB, place.stored_bytes - at), str(path))
