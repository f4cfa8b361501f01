"""Chunks in stored form: one strict zstd frame, or the raw bytes.

The frame's structure is walked before anything is decompressed, so that a second frame, a
skippable frame, a dictionary, a huge window or a wrong declared size is refused at its price in
stored bytes; then decompression itself is bounded by the declared size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Protocol, cast

import zstandard

from bundle.limits import MIB, ZSTD_WINDOW_BYTES_MAX

LEVEL = 3
LEVEL_MAX = 19  # above it the window exceeds what a reader accepts
PIECE_BYTES = 1 * MIB
BLOCK_BYTES_MAX = 128 << 10
BLOCK_RAW_BYTES_MIN = 256  # on average: bounds the work that tiny blocks can cause
BLOCKS_FREE = 64
_MAGIC = b"\x28\xb5\x2f\xfd"
_FRAME_HEADER_BYTES_MAX = 18
_READ_BYTES = 128 << 10

ReadAt = Callable[[int, int], bytes]  # (offset in the stored bytes, count) -> bytes


class Readable(Protocol):
    """A source that a decompressor reads from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes; empty at the end."""


def compress(raw: bytes, level: int = LEVEL) -> bytes:
    """Return one zstd frame that declares its content's size."""
    return _compressor(len(raw), level).compress(raw)


def compressing(raw_bytes: int, level: int = LEVEL) -> zstandard.ZstdCompressionObj:
    """Start a frame of exactly that many raw bytes, fed piece by piece."""
    return _compressor(raw_bytes, level).compressobj(size=raw_bytes)


def decompress(stored: Readable, raw_bytes: int) -> Iterator[bytes]:
    """Yield the raw bytes in pieces of at most 1 MiB, never more than `raw_bytes` together + 1.

    The caller has walked the frame, and checks size and digest of what comes out. Raises ValueError
    where the frame is damaged.
    """
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
    left = raw_bytes + 1  # one more shows what goes on beyond its declared size
    try:
        with decompressor.stream_reader(
            cast(IO[bytes], stored), read_size=_READ_BYTES, read_across_frames=False, closefd=False
        ) as reader:
            while left > 0 and (piece := reader.read(min(PIECE_BYTES, left))):
                left -= len(piece)
                yield piece
    except zstandard.ZstdError as error:
        raise ValueError(f"the zstd frame is damaged: {error}") from error


def decompressed(stored: bytes, raw_bytes: int) -> bytes | None:
    """Return the raw bytes of one acceptable frame of few; None where anything is wrong with it."""
    if frame_problem(lambda at, count: stored[at : at + count], len(stored), raw_bytes):
        return None
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
    try:
        raw = decompressor.decompress(stored, max_output_size=raw_bytes)
    except zstandard.ZstdError:
        return None
    return raw if len(raw) == raw_bytes else None


def frame_problem(read_at: ReadAt, stored_bytes: int, raw_bytes: int) -> str:
    """Return why the stored bytes are not one acceptable zstd frame, or nothing."""
    head = read_at(0, min(_FRAME_HEADER_BYTES_MAX, stored_bytes))
    if head[:4] != _MAGIC or len(head) < 6:
        return "it does not start as a zstd frame"
    flags = head[4]
    if flags & 0b0001_1011:
        return "its frame uses a dictionary or reserved bits"
    single, at = bool(flags & 0x20), 5
    window = 0
    if not single:
        base = 1 << (10 + (head[at] >> 3))
        window = base + base // 8 * (head[at] & 7)
        at += 1
    width = {0: int(single), 1: 2, 2: 4, 3: 8}[flags >> 6]
    declared = int.from_bytes(head[at : at + width], "little") + (256 if width == 2 else 0)
    if not width or declared != raw_bytes:
        return "its declared size is not the manifest's"
    window = declared if single else window
    if window > ZSTD_WINDOW_BYTES_MAX:
        return f"its window of {window} bytes exceeds {ZSTD_WINDOW_BYTES_MAX}"
    checksum_bytes = 4 if flags & 0x04 else 0
    return _blocks_problem(read_at, at + width, stored_bytes - checksum_bytes, raw_bytes)


def _blocks_problem(read_at: ReadAt, at: int, end: int, raw_bytes: int) -> str:
    """Follow the blocks' headers to the last block, which must end exactly at `end`."""
    for _ in range(raw_bytes // BLOCK_RAW_BYTES_MIN + BLOCKS_FREE):
        if at + 3 > end:
            return "its frame ends inside a block"
        head = int.from_bytes(read_at(at, 3), "little")
        last, form, size = head & 1, (head >> 1) & 3, head >> 3
        if form == 3 or size > BLOCK_BYTES_MAX:
            return "a block of its frame is of an unknown form or too large"
        at += 3 + (1 if form == 1 else size)
        if last:
            return "" if at == end else "bytes follow its frame, or the frame is cut"
    return "its frame has too many tiny blocks"


def _compressor(raw_bytes: int, level: int) -> zstandard.ZstdCompressor:
    if not 1 <= level <= LEVEL_MAX:
        raise ValueError(f"zstd level {level}, only 1 to {LEVEL_MAX}")
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, source_size=raw_bytes, write_content_size=True, write_checksum=False
    )
    return zstandard.ZstdCompressor(compression_params=parameters)
