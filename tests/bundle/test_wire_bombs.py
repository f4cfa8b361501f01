"""Chunks that expand, lie or hide something are refused at the price of their stored bytes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard

from bundle.limits import MIB, RATIO_FREE_BYTES, RATIO_MAX
from bundle.wire.errors import Bomb, BundleRefused, ChunkMismatch, MalformedBundle
from bundle.wire.write import ChunkSource

RAW = b"0123456789abcdef" * 400
EMPTY_FRAME = zstandard.compress(b"")
SKIPPABLE = b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip"


def with_body(cast: Any, raw: bytes, body: bytes, codec: int = 1) -> Path:
    """A bundle whose signed manifest names `raw` and whose stored form is `body`."""
    parts = cast.take_apart(cast.pack([ChunkSource("segment", "a", 1, raw)]))
    row = (codec, len(body), hashlib.sha256(body).digest())
    return cast.scrap(replace(parts, rows=(row,), bodies=(body,)).whole())


def frame(raw: bytes, **parameters: Any) -> bytes:
    chosen = zstandard.ZstdCompressionParameters.from_level(3, **parameters)
    return zstandard.ZstdCompressor(compression_params=chosen).compress(raw)


def refuse(cast: Any, path: Path) -> BundleRefused:
    with pytest.raises(BundleRefused) as caught, cast.open(path) as bundle:
        bundle.chunk(0)
    assert isinstance(caught.value, Bomb | ChunkMismatch | MalformedBundle)
    return caught.value


def test_a_foreign_but_strict_frame_is_read(cast: Any) -> None:
    for body in (frame(RAW), frame(RAW, write_checksum=True), frame(RAW, window_log=10)):
        with cast.open(with_body(cast, RAW, body)) as bundle:
            assert bundle.chunk(0) == RAW


@pytest.mark.parametrize("bit", range(8))
def test_a_short_chunk_read_in_one_go_is_what_it_is_in_pieces(cast: Any, bit: int) -> None:
    """Whichever byte of it was altered, and whether or not the chunk table was altered with it."""
    body = frame(RAW, write_checksum=True)
    for place in range(len(body)):
        altered = bytearray(body)
        altered[place] ^= 1 << bit
        with cast.open(with_body(cast, RAW, bytes(altered))) as bundle:
            assert _told(lambda: bundle.chunk(0)) == _told(lambda: b"".join(bundle.stream(0)))


def _told(read: Callable[[], bytes]) -> bytes | str:
    try:
        return read()
    except BundleRefused as error:
        return error.text()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (frame(RAW) + EMPTY_FRAME, "bytes follow"),
        (EMPTY_FRAME + frame(RAW), "declared size"),
        (frame(RAW[:3200]) + frame(RAW[3200:]), "declared size"),
        (SKIPPABLE + frame(RAW), "start"),
        (frame(RAW) + SKIPPABLE, "bytes follow"),
        (frame(RAW)[:-1], "inside a block|cut|follow"),
        (frame(RAW + b"!"), "declared size"),
        (frame(RAW[:-1]), "declared size"),
        (frame(RAW, write_content_size=False), "declared size"),
        (b"\x28\xb5\x2f\xfd", "start"),
        (b"not a frame", "start"),
    ],
)
def test_anything_but_one_frame_of_the_declared_size_is_refused(
    cast: Any, body: bytes, named: str
) -> None:
    refusal = refuse(cast, with_body(cast, RAW, body))
    assert isinstance(refusal, Bomb)
    assert any(part in str(refusal) for part in named.split("|"))


def test_a_frame_with_a_dictionary_is_refused(cast: Any) -> None:
    samples = [b"%d sample text that repeats %d" % (n, n % 7) for n in range(3000)]
    dictionary = zstandard.train_dictionary(2000, samples)
    body = zstandard.ZstdCompressor(dict_data=dictionary).compress(RAW)
    assert "dictionary" in str(refuse(cast, with_body(cast, RAW, body)))


def test_a_window_beyond_the_limit_is_refused(cast: Any) -> None:
    compressor = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters.from_level(3, window_log=24)
    )
    raw = RAW * 6000  # larger than the window, so the frame states the window
    body = compressor.compress(raw)
    path = with_body(cast, raw, body + bytes(len(raw) // RATIO_MAX))
    assert "window" in str(refuse(cast, path))


def test_a_ratio_beyond_the_cap_is_refused_before_a_byte_is_expanded(cast: Any) -> None:
    raw = bytes(RATIO_FREE_BYTES + RATIO_MAX * 400)
    body = zstandard.compress(raw)
    assert len(body) < 400
    assert "expands more than" in str(refuse(cast, with_body(cast, raw, body)))


def test_a_frame_that_expands_beyond_what_it_declares_is_refused(cast: Any) -> None:
    lie = bytearray(frame(RAW, window_log=10))
    blocks = frame(RAW * 2, window_log=10)
    head = 5 + 1 + 2  # magic, flags, window, size of two bytes
    assert lie[4] >> 6 == 1
    refuse(cast, with_body(cast, RAW, bytes(lie[:head]) + blocks[head:]))


def test_a_chunk_of_many_empty_frames_or_blocks_is_refused_quickly(cast: Any) -> None:
    raw = hashlib.sha256(b"noise").digest() * (1 << 16)
    empty_frames = EMPTY_FRAME * (MIB // len(EMPTY_FRAME))
    declared = b"\x28\xb5\x2f\xfd\xa0" + len(raw).to_bytes(4, "little")
    for body in (empty_frames, declared + b"\x00\x00\x00" * (MIB // 3)):
        path = with_body(cast, raw, body)
        started = time.perf_counter()
        refuse(cast, path)
        assert time.perf_counter() - started < 0.5  # the design's figure is 50 ms, on a quiet core


def test_a_stored_chunk_of_another_size_is_refused(cast: Any) -> None:
    for body in (RAW + b"!", RAW[:-1], b""):
        assert "differ" in str(refuse(cast, with_body(cast, RAW, body, codec=0)))
    assert "absent" in str(refuse(cast, with_body(cast, RAW, RAW, codec=2)))
    assert "codec 3" in str(refuse(cast, with_body(cast, RAW, RAW, codec=3)))
    refuse(cast, with_body(cast, RAW, RAW[:-1] + b"!", codec=0))


def test_compressed_bytes_that_do_not_shrink_are_refused(cast: Any) -> None:
    assert "not smaller" in str(refuse(cast, with_body(cast, b"abc", frame(b"abc"))))


BOMB = """
import resource, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from conftest import Cast
from bundle.wire.errors import BundleRefused
cast = Cast(Path({folder!r}))
with cast.open(Path({good!r})) as bundle:
    bundle.check_all()
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (32 << 20),) * 2)
try:
    with cast.open(Path({bomb!r})) as bundle:
        bundle.check_all()
except BundleRefused as error:
    print(error.code)
"""


@pytest.fixture
def run_bounded(cast: Any) -> Callable[[Path, Path], str]:
    def run(good: Path, bomb: Path) -> str:
        code = BOMB.format(
            tests=str(Path(__file__).parent),
            folder=str(cast.folder),
            good=str(good),
            bomb=str(bomb),
        )
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout.strip()

    return run


def test_a_bomb_costs_no_memory(cast: Any, run_bounded: Callable[[Path, Path], str]) -> None:
    good = cast.pack([ChunkSource("segment", "a", 1, RAW)])
    raw = hashlib.sha256(b"noise").digest() * 28_000  # 875 KiB, free of the ratio's cap
    honest = zstandard.compress(bytes(256 * MIB))  # 8 KiB
    assert honest[4] == 0x80  # the size in four bytes, after one byte of window
    lie = honest[:6] + len(raw).to_bytes(4, "little") + honest[10:]
    assert run_bounded(good, with_body(cast, raw, honest)) == "bomb"
    assert run_bounded(good, with_body(cast, raw, lie)) in ("bomb", "chunk-mismatch")
