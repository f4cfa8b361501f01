"""The bytes around the manifest: the fixed header and the chunk table. Pure.

Header, 34 bytes, big-endian: magic (8), format u16, reader_min u16, kind u16, manifest bytes u32,
signatures bytes u32, chunks u32, total bytes of the file u64. A row of the table, 41 bytes: codec
u8, stored bytes u64, SHA-256 over the stored bytes. Nothing here is signed: every field is checked
against the signed manifest or against the file itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from bundle.limits import (
    BUNDLE_BYTES_MAX,
    CHUNKS_MAX,
    MANIFEST_BYTES_MAX,
    RATIO_FREE_BYTES,
    RATIO_MAX,
    SIGNATURES_BYTES_MAX,
)
from bundle.wire.errors import (
    BadMagic,
    Bomb,
    MalformedBundle,
    TooLarge,
    TrailingBytes,
    Truncated,
    UnsupportedVersion,
)
from bundle.wire.manifest import FORMAT, KINDS, ChunkEntry, Kind

MAGIC = b"\x89PULK\r\n\n"  # the high bit and the line ends show transfers that alter bytes
FORMAT_OLDEST = 1  # the oldest version that is read
_HEADER = struct.Struct(">8sHHHIIIQ")
_ROW = struct.Struct(">BQ32s")
HEADER_BYTES = _HEADER.size
ROW_BYTES = _ROW.size


class Codec(IntEnum):
    """How a chunk's bytes are stored."""

    STORED = 0
    ZSTD = 1
    ABSENT = 2  # not in this copy of the bundle: the reader has it, or another part brings it


NO_DIGEST = bytes(32)  # of an absent chunk


@dataclass(frozen=True, slots=True)
class Header:
    """The fixed header. Sizes in bytes; `chunks` is a count."""

    format: int
    reader_min: int
    kind: Kind
    manifest_bytes: int
    signatures_bytes: int
    chunks: int
    total_bytes: int

    @property
    def table_at(self) -> int:
        """Where the chunk table starts."""
        return HEADER_BYTES + self.manifest_bytes + self.signatures_bytes

    @property
    def bodies_at(self) -> int:
        """Where the first chunk's stored bytes start."""
        return self.table_at + ROW_BYTES * self.chunks


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk's stored bytes lie: `at` from the file's start."""

    codec: Codec
    at: int
    stored_bytes: int
    digest: bytes  # SHA-256 over the stored bytes; zeros where the chunk is absent


def pack(header: Header) -> bytes:
    """Return the 34 bytes of a header."""
    return _HEADER.pack(
        MAGIC,
        header.format,
        header.reader_min,
        KINDS.index(header.kind),
        header.manifest_bytes,
        header.signatures_bytes,
        header.chunks,
        header.total_bytes,
    )


def unpack(raw: bytes, file_bytes: int, *, where: str = "") -> Header:
    """Read a header and check it against the file's real size.

    Raises:
        BadMagic, UnsupportedVersion, TooLarge, Truncated, TrailingBytes, MalformedBundle.
    """
    if raw[: len(MAGIC)] != MAGIC[: len(raw)] or not raw:
        raise BadMagic(where=where, found=raw[: len(MAGIC)].hex() or "nothing")
    if len(raw) < HEADER_BYTES:
        raise Truncated(where=where, found_bytes=file_bytes, declared_bytes=HEADER_BYTES)
    _, version, reader_min, kind, manifest, signatures, chunks, total = _HEADER.unpack(raw)
    if reader_min > FORMAT or version < FORMAT_OLDEST:
        raise UnsupportedVersion(
            where=where,
            format=version,
            reader_min=reader_min,
            readable=f"{FORMAT_OLDEST} to {FORMAT}",
            install=max(reader_min, version),
        )
    for part, size, size_max in (
        ("the file", max(total, file_bytes), BUNDLE_BYTES_MAX),
        ("the manifest", manifest, MANIFEST_BYTES_MAX),
        ("the signatures", signatures, SIGNATURES_BYTES_MAX),
        ("the chunk table", chunks, CHUNKS_MAX),
    ):
        if size > size_max:
            raise TooLarge(where=where, part=part, size=size, size_max=size_max)
    if file_bytes < total:
        raise Truncated(where=where, found_bytes=file_bytes, declared_bytes=total)
    if file_bytes > total:
        raise TrailingBytes(where=where, found_bytes=file_bytes, declared_bytes=total)
    if kind >= len(KINDS):
        raise MalformedBundle(where=where, part="header", reason=f"kind {kind} is unknown")
    header = Header(version, reader_min, KINDS[kind], manifest, signatures, chunks, total)
    if header.bodies_at > total:
        raise MalformedBundle(where=where, part="header", reason="the parts exceed the file")
    return header


def pack_table(rows: Iterable[tuple[Codec, int, bytes]]) -> bytes:
    """Return the chunk table of (codec, stored bytes, SHA-256 over them)."""
    return b"".join(_ROW.pack(*row) for row in rows)


def unpack_table(
    raw: bytes, header: Header, entries: tuple[ChunkEntry, ...], *, where: str = ""
) -> tuple[Place, ...]:
    """Read the chunk table against the manifest's chunks. Raises MalformedBundle, Bomb."""
    if len(entries) != header.chunks:
        reason = f"{header.chunks} rows for the manifest's {len(entries)} chunks"
        raise MalformedBundle(where=where, part="chunk table", reason=reason)
    places: list[Place] = []
    at = header.bodies_at
    for number, (row, entry) in enumerate(zip(_ROW.iter_unpack(raw), entries, strict=True)):
        codec, stored_bytes, digest = row
        reason = row_problem(codec, stored_bytes, entry.raw_bytes)
        if codec == Codec.ABSENT and digest != NO_DIGEST:
            reason = "absent, but with a digest"
        if reason:
            names = {"place": number, "kind": entry.kind, "name": entry.name}
            raise Bomb(where=where, reason=reason, **names)
        places.append(Place(Codec(codec), at, stored_bytes, digest))
        at += stored_bytes
    if at != header.total_bytes:
        reason = f"the chunks end at byte {at}, the file at {header.total_bytes}"
        raise MalformedBundle(where=where, part="chunk table", reason=reason)
    return tuple(places)


def row_problem(codec: int, stored_bytes: int, raw_bytes: int) -> str:
    """Return why a chunk of that many raw bytes may not be stored so, or nothing."""
    match codec:
        case Codec.STORED:
            return "" if stored_bytes == raw_bytes else "stored and raw size differ"
        case Codec.ZSTD:
            if stored_bytes >= raw_bytes:
                return "compressed is not smaller than raw"
            if raw_bytes > RATIO_FREE_BYTES + RATIO_MAX * stored_bytes:
                return f"expands more than {RATIO_MAX} times"
            return ""
        case Codec.ABSENT:
            return "absent, but with a size" if stored_bytes else ""
    return f"codec {codec} is unknown"
