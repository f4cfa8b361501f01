"""Copies of one bundle: parts, deltas, and what they make when they are joined; files in pieces."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle.digest import file_digest
from bundle.limits import DATA_CHUNK_BYTES_MAX
from bundle.wire import files, thin
from bundle.wire.entries import DATA, PIECE, ChunkEntry, pieces_problem
from bundle.wire.errors import AbsentChunk, BundleRefused, ChunkMismatch, NotOneBundle
from bundle.wire.files import copy_file, file_sources, files_of
from bundle.wire.write import ChunkSource, DraftRefused

CHUNKS = 6


def bundle_of(cast: Any, chunks: int = CHUNKS) -> Path:
    return cast.pack(
        [ChunkSource("segment", str(n), 1, b"%d-" % n * 400) for n in range(chunks - 1)]
        + [ChunkSource("data", "noise", 0, os.urandom(3000))]
    )


def test_a_part_has_the_same_id_and_verifies_alone(cast: Any, tmp_path: Path) -> None:
    whole, part = bundle_of(cast), tmp_path / "part"
    thin.write_thin(whole, part, {1, 4})
    with cast.open(whole) as full, cast.open(part) as some:
        assert some.id == full.id
        assert some.absent() == [0, 2, 3, 5]
        some.check_present()
        assert some.chunk(4) == full.chunk(4)
        for read in (lambda: some.chunk(0), some.check_all, lambda: some.check_chunk(5)):
            with pytest.raises(AbsentChunk, match="not in this copy"):
                read()
    assert part.stat().st_size < whole.stat().st_size


def test_an_empty_chunk_that_is_there_is_not_absent(cast: Any, tmp_path: Path) -> None:
    whole = cast.pack([ChunkSource("logs", "none", 0, b""), ChunkSource("logs", "b", 0, b"b")])
    thin.write_thin(whole, tmp_path / "part", {0})
    with cast.open(tmp_path / "part") as part:
        assert part.absent() == [1]
        assert part.chunk(0) == b""


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.integers(0, CHUNKS - 1)), min_size=1, max_size=5), st.randoms())
def test_parts_in_any_order_and_repeated_make_the_whole_or_say_what_is_missing(
    cast: Any, tmp_path: Path, kept: list[set[int]], order: random.Random
) -> None:
    whole = bundle_of(cast)
    parts = []
    for number, keep in enumerate(kept):
        parts.append(tmp_path / f"part-{number}")
        thin.write_thin(whole, parts[-1], keep)
    parts += order.sample(parts, order.randint(0, len(parts)))
    order.shuffle(parts)
    missing = thin.join(tmp_path / "joined", parts)
    assert missing == sorted(set(range(CHUNKS)) - set().union(*kept))
    if not missing:
        assert (tmp_path / "joined").read_bytes() == whole.read_bytes()


def test_a_damaged_chunk_is_taken_from_another_part(cast: Any, tmp_path: Path) -> None:
    whole, bad = bundle_of(cast), tmp_path / "bad"
    raw = bytearray(whole.read_bytes())
    raw[-10] ^= 1
    bad.write_bytes(raw)
    assert thin.join(tmp_path / "a", [bad]) == [CHUNKS - 1]
    assert thin.join(tmp_path / "b", [bad, whole]) == []
    assert (tmp_path / "b").read_bytes() == whole.read_bytes()


def test_a_chunk_whose_table_was_forged_is_taken_from_another_part(
    cast: Any, tmp_path: Path
) -> None:
    whole = bundle_of(cast, 2)
    parts = cast.take_apart(whole)
    body = os.urandom(len(parts.bodies[1]))
    import hashlib

    rows = (parts.rows[0], (0, len(body), hashlib.sha256(body).digest()))
    forged = tmp_path / "forged"
    forged.write_bytes(
        type(parts)(
            parts.kind, parts.manifest, parts.signatures, rows, (parts.bodies[0], body)
        ).whole()
    )
    assert thin.join(tmp_path / "j", [forged, whole]) == []
    assert (tmp_path / "j").read_bytes() == whole.read_bytes()


def test_parts_of_different_bundles_are_not_joined(cast: Any, tmp_path: Path) -> None:
    one, other = bundle_of(cast), bundle_of(cast)
    with pytest.raises(NotOneBundle):
        thin.join(tmp_path / "joined", [one, other])
    assert not (tmp_path / "joined").exists()


def test_absent_chunks_are_filled_with_what_the_reader_has(cast: Any, tmp_path: Path) -> None:
    whole, part, full = bundle_of(cast), tmp_path / "part", tmp_path / "full"
    thin.write_thin(whole, part, set(range(1, CHUNKS)))
    with cast.open(whole) as bundle:
        thin.fill(part, full, {0: bundle.chunk(0)})
    with cast.open(full) as bundle:
        bundle.check_all()
    thin.fill(part, full, {0: b"something else"})
    with pytest.raises(BundleRefused), cast.open(full) as bundle:
        bundle.check_all()


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> int:
    """Pieces of 1 KiB, so that files of a few pieces are small."""
    for module in (files, "bundle.wire.entries"):
        name = module if isinstance(module, str) else module.__name__
        monkeypatch.setattr(f"{name}.DATA_CHUNK_BYTES_MAX", 1024)
    return 1024


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 2048, 5000])
def test_a_large_file_travels_in_pieces(
    cast: Any, tmp_path: Path, small_pieces: int, size: int
) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(size))
    digest = file_digest(file)
    path = cast.pack(
        [*file_sources(digest, file), ChunkSource("data", "", 0, b"x"), *file_sources(digest, file)]
    )
    with cast.open(path) as bundle:
        found = files_of(bundle.manifest)[digest]
        assert found.size_bytes == size
        assert len(found.places) == files.chunks_for(size) == max(1, -(-size // small_pieces))
        copy_file(bundle, found, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == file.read_bytes()


def test_pieces_that_do_not_make_the_file_they_are_named_for_are_refused(
    cast: Any, tmp_path: Path, small_pieces: int
) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(3000))
    path = cast.pack(list(file_sources(b"f" * 32, file)))
    with cast.open(path) as bundle:
        bundle.check_all()  # each piece is what was signed
        with pytest.raises(ChunkMismatch, match="do not make the file"):
            copy_file(bundle, files_of(bundle.manifest)[b"f" * 32], tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def piece(name: str, size: int = DATA_CHUNK_BYTES_MAX) -> ChunkEntry:
    return ChunkEntry(PIECE, name, size, 0, b"d" * 32)


F, G = "f" * 64, "a" * 64


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ([piece(f"{F}.0"), piece(f"{F}.1", 1)], ""),
        ([piece(f"{F}.0"), piece(f"{F}.1", 1), piece(f"{G}.0", 3)], ""),
        ([piece(f"{F}.0", 1), piece(f"{F}.1")], "not 67108864"),
        ([piece(f"{F}.1")], "does not follow"),
        ([piece(f"{F}.0"), ChunkEntry(DATA, "", 1, 0, b"d" * 32), piece(f"{F}.1")], "follow"),
        ([piece(f"{F}.0"), piece(f"{G}.1")], "does not follow"),
        ([piece(f"{F}.0"), piece(f"{F}.0")], ""),
        ([piece(f"{F}.00")], "named"),
        ([piece(f"{F[1:]}.0")], "named"),
        ([piece(F)], "named"),
        ([piece(f"{F}.0"), piece(f"{F}.1", 0)], "empty"),
    ],
)
def test_what_pieces_may_follow_each_other(chunks: list[ChunkEntry], reason: str) -> None:
    assert reason in pieces_problem(tuple(chunks))
    assert bool(reason) == bool(pieces_problem(tuple(chunks)))


def test_a_writer_refuses_a_data_chunk_that_is_too_large(cast: Any, tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(DATA_CHUNK_BYTES_MAX + 1)
    with pytest.raises(DraftRefused):
        cast.pack([ChunkSource("data", "big", 0, big)])
    assert len(list(file_sources(b"b" * 32, big))) == 2
