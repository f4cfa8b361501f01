"""Files inside bundles: small ones are one `data` chunk, larger ones consecutive `piece` chunks.

A piece is named `<SHA-256 of the whole file, hex>.<number>`; all but a file's last hold exactly
`DATA_CHUNK_BYTES_MAX` bytes. So every chunk fits on any medium, and a transfer resumes by chunk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle.limits import DATA_CHUNK_BYTES_MAX
from bundle.spool import publish
from bundle.wire.entries import DATA, PIECE, piece_of
from bundle.wire.errors import ChunkMismatch
from bundle.wire.manifest import Manifest
from bundle.wire.read import OpenBundle
from bundle.wire.write import ChunkSource, Slice


@dataclass(frozen=True, slots=True)
class FileChunks:
    """A file in a bundle: plain SHA-256, size in bytes, and where its chunks are, in order."""

    digest: bytes
    size_bytes: int
    places: tuple[int, ...]


def file_sources(digest: bytes, path: Path) -> Iterator[ChunkSource]:
    """Yield the chunks that carry a file whose plain SHA-256 is `digest`."""
    size = path.stat().st_size
    if size <= DATA_CHUNK_BYTES_MAX:
        yield ChunkSource(DATA, digest.hex(), 0, path)
        return
    for number, at in enumerate(range(0, size, DATA_CHUNK_BYTES_MAX)):
        part = Slice(path, at, min(DATA_CHUNK_BYTES_MAX, size - at))
        yield ChunkSource(PIECE, f"{digest.hex()}.{number}", 0, part)


def chunks_for(size_bytes: int) -> int:
    """Return how many chunks carry a file of that size."""
    return max(1, -(-size_bytes // DATA_CHUNK_BYTES_MAX))


def files_of(manifest: Manifest) -> dict[bytes, FileChunks]:
    """Return every file of a bundle by its plain SHA-256, in the order of their chunks."""
    found: dict[bytes, FileChunks] = {}
    for place in range(len(manifest.chunks)):
        if (one := file_at(manifest, place)) is not None:
            found.setdefault(one.digest, one)
    return found


def file_at(manifest: Manifest, place: int) -> FileChunks | None:
    """Return the file whose first chunk is at a place, or None where none begins there."""
    entry = manifest.chunks[place]
    if entry.kind == DATA:
        return FileChunks(entry.digest, entry.raw_bytes, (place,))
    if entry.kind != PIECE:
        return None
    digest, number = piece_of(entry)
    if number:
        return None
    end, chunks = place, manifest.chunks
    while (
        end < len(chunks)
        and chunks[end].kind == PIECE
        and piece_of(chunks[end]) == (digest, end - place)
    ):
        end += 1
    size = sum(one.raw_bytes for one in chunks[place:end])
    return FileChunks(digest, size, tuple(range(place, end)))


def stream_file(bundle: OpenBundle, file: FileChunks) -> Iterator[bytes]:
    """Yield a file's bytes, verified only once all of them are out. Raises BundleRefused."""
    whole, place = hashlib.sha256(), file.places[0]
    entry = bundle.manifest.chunks[place]
    if entry.kind == DATA:
        yield from bundle.stream(place)
        return
    for place in file.places:
        for piece in bundle.stream(place):
            whole.update(piece)
            yield piece
    if whole.digest() != file.digest:
        raise ChunkMismatch(
            where=str(bundle.path),
            place=place,
            kind=entry.kind,
            name=entry.name,
            reason="the pieces do not make the file that they are named for",
        )


def check_file(bundle: OpenBundle, file: FileChunks) -> None:
    """Verify a file of a bundle, streaming. Raises BundleRefused."""
    for _ in stream_file(bundle, file):
        pass


def copy_file(bundle: OpenBundle, file: FileChunks, to: Path) -> None:
    """Write a file of a bundle; `to` appears whole, synced, verified, or not at all.

    The folder's sync is the caller's. Raises BundleRefused, OSError.
    """
    with publish.replacing(to) as out:
        for piece in stream_file(bundle, file):
            out.write(piece)
