"""One chunk's raw bytes out of an open file: digest, frame, bounded expansion, digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from bundle.digest import PLAIN_KINDS, chunk_digest, chunk_start
from bundle.wire import codec
from bundle.wire.entries import ChunkEntry
from bundle.wire.errors import AbsentChunk, Bomb, BundleRefused, ChunkMismatch
from bundle.wire.header import Codec, Place
from bundle.wire.stored import Stored, read_at

SHORT_BYTES_MAX = 64 << 10  # raw


def raw_bytes(
    descriptor: int, place: Place, entry: ChunkEntry, number: int, where: str
) -> Iterator[bytes]:
    """Yield a chunk's raw bytes in pieces of at most 1 MiB, verified once all of them are out.

    Args:
        descriptor: the open bundle file.
        place: where the chunk lies in it.
        entry: what the manifest says of it.
        number: its place among the chunks, for errors.
        where: names the file in errors.

    Raises AbsentChunk, ChunkMismatch, Bomb, Truncated; then what came before must be dropped.
    """
    about: dict[str, Any] = {"where": where, "place": number}
    about |= {"kind": entry.kind, "name": entry.name}
    stored = Stored(descriptor, place.at, place.stored_bytes, where)
    match place.codec:
        case Codec.ABSENT:
            raise AbsentChunk(**about)
        case Codec.ZSTD:
            if stored.digest() != place.digest:
                raise ChunkMismatch(reason=_TABLE, **about)
            problem = codec.frame_problem(stored.read_at, place.stored_bytes, entry.raw_bytes)
            if problem:
                raise Bomb(reason=problem, **about)
            yield from _checked(codec.decompress(stored, entry.raw_bytes), entry, about)
        case Codec.STORED if entry.kind in PLAIN_KINDS:
            if place.digest != entry.digest:  # one digest for both: it is taken once
                raise ChunkMismatch(reason=_TABLE, **about)
            yield from _checked(_pieces(stored), entry, about)
        case Codec.STORED:
            plain = hashlib.sha256()
            for piece in _checked(_pieces(stored), entry, about):
                plain.update(piece)
                yield piece
            if plain.digest() != place.digest:
                raise ChunkMismatch(reason=_TABLE, **about)


def short_bytes(descriptor: int, place: Place, entry: ChunkEntry) -> bytes | None:
    """Return the verified raw bytes of a short compressed chunk, in one go.

    None is for all others, and for what is not as it should be: `raw_bytes` has the last word.
    """
    if place.codec is not Codec.ZSTD or entry.raw_bytes > SHORT_BYTES_MAX:
        return None
    try:
        stored = read_at(descriptor, place.at, place.stored_bytes, "")
    except BundleRefused:
        return None
    if hashlib.sha256(stored).digest() != place.digest:
        return None
    raw = codec.decompressed(stored, entry.raw_bytes)
    return raw if raw is not None and chunk_digest(entry.kind, raw) == entry.digest else None


_TABLE = "the stored bytes do not fit the chunk table"


def _pieces(stored: Stored) -> Iterator[bytes]:
    return iter(lambda: stored.read(codec.PIECE_BYTES), b"")


def _checked(pieces: Iterator[bytes], entry: ChunkEntry, about: dict[str, Any]) -> Iterator[bytes]:
    """Yield the pieces; raise where size or digest are not the manifest's."""
    running, size = chunk_start(entry.kind), 0
    try:
        for piece in pieces:
            running.update(piece)
            size += len(piece)
            if size > entry.raw_bytes:
                raise Bomb(reason="it expands beyond its declared size", **about)
            yield piece
    except ValueError as error:
        raise ChunkMismatch(reason=str(error), **about) from error
    if size != entry.raw_bytes or running.digest() != entry.digest:
        raise ChunkMismatch(reason="the raw bytes do not fit the manifest", **about)
