"""What is packed can be read again, piece by piece, in bounded memory, under one identity."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundle.digest import file_digest
from bundle.wire import manifest
from bundle.wire.errors import BundleRefused, DraftRefused, NoSuchChunk, SourceChanged
from bundle.wire.header import Codec
from bundle.wire.manifest import Kind
from bundle.wire.read import verify_envelope
from bundle.wire.write import ChunkSource, write_bundle

TEXT = b"a line that repeats\n" * 200


def sources(folder: Path) -> list[ChunkSource]:
    noise, text = folder / "noise", folder / "text"
    noise.write_bytes(os.urandom(70_000))
    text.write_bytes(b"".join(hashlib.sha256(b"%d" % n).hexdigest().encode() for n in range(4000)))
    return [
        ChunkSource("segment", "a", 200, TEXT),
        ChunkSource("logs", "", 0, b""),
        ChunkSource("data", "noise", 0, noise),
        ChunkSource("data", "text", 0, text),
    ]


def test_every_chunk_is_read_back_as_it_was_packed(cast: Any, tmp_path: Path) -> None:
    packed = sources(tmp_path)
    with cast.open(cast.pack(packed), audience="central") as bundle:
        bundle.check_all()
        for place, source in enumerate(packed):
            raw = source.raw if isinstance(source.raw, bytes) else source.raw.read_bytes()
            assert bundle.chunk(place) == raw
        assert bundle.site == "north"
        assert bundle.signer_key == cast.site.public
        assert bundle.find("data") == [2, 3]
        assert bundle.one("data", "text") == 3
        with pytest.raises(NoSuchChunk):
            bundle.one("data", "other")


def test_a_data_chunk_is_copied_to_a_file_and_has_the_digest_that_sha256sum_shows(
    cast: Any, tmp_path: Path
) -> None:
    packed = sources(tmp_path)
    with cast.open(cast.pack(packed)) as bundle:
        for place in bundle.find("data"):
            bundle.copy_chunk(place, tmp_path / "out")
            assert file_digest(tmp_path / "out") == bundle.manifest.chunks[place].digest
            assert (tmp_path / "out").read_bytes() == packed[place].raw.read_bytes()


def test_data_that_does_not_shrink_is_stored(cast: Any, tmp_path: Path) -> None:
    with cast.open(cast.pack(sources(tmp_path))) as bundle:
        codecs = [place.codec for place in bundle.places]
    assert codecs == [Codec.ZSTD, Codec.STORED, Codec.STORED, Codec.ZSTD]


def test_compression_changes_neither_manifest_bytes_nor_id(cast: Any, tmp_path: Path) -> None:
    packed, seen = sources(tmp_path), set()
    for how in ({"compress": False}, {"level": 1}, {"level": 3}, {"level": 19}):
        with cast.open(cast.pack(packed, **how)) as bundle:
            bundle.check_all()
            seen.add((bundle.id, bundle.manifest_bytes))
    assert len(seen) == 1


def test_what_would_expand_more_than_a_reader_allows_is_stored(cast: Any, tmp_path: Path) -> None:
    zeros = tmp_path / "zeros"
    zeros.write_bytes(bytes(3 << 20))
    chunks = [ChunkSource("data", "z", 0, zeros), ChunkSource("segment", "z", 0, bytes(3 << 20))]
    with cast.open(cast.pack(chunks)) as bundle:
        bundle.check_all()
        assert [place.codec for place in bundle.places] == [Codec.STORED, Codec.STORED]


def test_one_chunk_is_read_where_all_others_are_damaged(cast: Any, tmp_path: Path) -> None:
    path = cast.pack(sources(tmp_path))
    parts = cast.take_apart(path)
    damaged = tuple(
        body if place == 2 else bytes(255 - one for one in body)
        for place, body in enumerate(parts.bodies)
    )
    with cast.open(cast.scrap(replace(parts, bodies=damaged).whole())) as bundle:
        assert bundle.chunk(2) == (tmp_path / "noise").read_bytes()
        with pytest.raises(BundleRefused):
            bundle.chunk(0)
        with pytest.raises(BundleRefused):
            bundle.check_all()
        with pytest.raises(BundleRefused):
            bundle.copy_chunk(3, tmp_path / "out")
    assert not [one for one in tmp_path.iterdir() if "out" in one.name]


def test_an_envelope_shows_elsewhere_that_a_manifest_was_signed(cast: Any) -> None:
    path = cast.pack([], cast.draft(Kind.WORK))
    with cast.open(path) as bundle:
        raw = bundle.envelope()
        found = verify_envelope(raw, cast.view, frozenset({Kind.WORK}))
        assert found == (bundle.id, bundle.manifest)
    for at in range(0, len(raw), 3):
        flipped = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(BundleRefused):
            verify_envelope(flipped, cast.view, frozenset({Kind.WORK}))
    with pytest.raises(BundleRefused):
        verify_envelope(raw, cast.view, frozenset({Kind.RESULT}))


def test_fields_of_a_later_version_survive_a_round_trip(cast: Any) -> None:
    draft = cast.draft(unknown=(("zz-later", [1, {"a": b"x"}]),))
    with cast.open(cast.pack([], draft)) as bundle:
        assert bundle.manifest.unknown == draft.unknown
        assert manifest.encode(bundle.manifest) == bundle.manifest_bytes


def test_a_file_that_changes_while_it_is_packed_gives_no_bundle(cast: Any, tmp_path: Path) -> None:
    moving = tmp_path / "moving"
    moving.write_bytes(b"before")

    def chunks() -> Any:
        yield ChunkSource("data", "moving", 0, moving)
        moving.write_bytes(b"after!")

    with pytest.raises(SourceChanged):
        write_bundle(cast.folder / "x", cast.draft(), chunks(), cast.site)
    assert list(cast.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"sequence": 2**63}, "sequence"),
        ({"previous": b"short"}, "previous"),
        ({"certificate": b""}, "certificate"),
        ({"kind": Kind.WORK, "producer": "north", "certificate": b""}, "producer"),
        ({"unknown": (("alg", "none"),)}, "algorithm"),
        ({"unknown": (("sequence", 1),)}, "survive"),
    ],
)
def test_a_draft_that_a_reader_would_refuse_is_not_written(
    cast: Any, fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(DraftRefused, match=named):
        cast.pack([], cast.draft(**fields))
    assert list(cast.folder.iterdir()) == []


STREAMING = """
import resource, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from conftest import Cast
from bundle.wire.write import ChunkSource
cast = Cast(Path({folder!r}))
cast.pack([ChunkSource("data", "small", 0, b"x" * 5000)])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
data = Path({data!r})
path = cast.pack([ChunkSource("data", "big", 0, data)])
with cast.open(path) as bundle:
    bundle.check_all()
    bundle.copy_chunk(0, Path({out!r}))
    stored = bundle.places[0].stored_bytes
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, stored)
"""


def test_large_data_passes_through_writer_and_reader_in_bounded_memory(
    cast: Any, tmp_path: Path
) -> None:
    data, out = tmp_path / "big", tmp_path / "out"
    with data.open("wb") as file:
        for _ in range(64):
            file.write(os.urandom(1 << 19) + bytes(1 << 19))
    code = STREAMING.format(
        tests=str(Path(__file__).parent), folder=str(cast.folder), data=str(data), out=str(out)
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    grown_kib, stored = map(int, done.stdout.split())
    assert grown_kib < 32 << 10
    assert stored < 64 << 20
    assert file_digest(out) == file_digest(data)
