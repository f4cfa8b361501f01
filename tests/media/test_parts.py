"""Splitting and joining: every part verifies alone, any mix that holds all chunks is the whole."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.limits import BUNDLE_BYTES_MAX
from bundle.media.errors import Incomplete, NothingToJoin, PartTooSmall, SeveralBundles
from bundle.media.parts import join, split
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from tests.media.made import Press

pytestmark = pytest.mark.sweeps


def test_every_part_verifies_alone_and_together_they_are_the_bundle(
    press: Press, tmp_path: Path
) -> None:
    whole = press.make(chunks=7, chunk_bytes=5000)
    out = tmp_path / "parts"
    out.mkdir()
    parts = split(whole, out, 14_000)
    assert len(parts) > 2
    for part in parts:
        assert part.path.stat().st_size == part.size_bytes <= 14_000
        with open_bundle(
            part.path, press.trust(), audience=None, kinds=frozenset(Kind),
            bytes_max=BUNDLE_BYTES_MAX,
        ) as bundle:  # fmt: skip
            assert bundle.id == whole.stem
            bundle.check_present()
    joined, passed_over = join([part.path for part in reversed(parts)], tmp_path / "joined")
    assert not passed_over
    assert joined[0].path.read_bytes() == whole.read_bytes()


def test_a_size_that_no_part_can_have_is_refused_with_the_smallest_that_can(
    press: Press, tmp_path: Path
) -> None:
    whole = press.make(chunks=3, chunk_bytes=5000)
    with pytest.raises(PartTooSmall) as refused:
        split(whole, tmp_path, 3000)
    smallest = int(refused.value.fields["need"])
    assert f"at least {smallest} bytes" in refused.value.text()
    with pytest.raises(PartTooSmall):
        split(whole, tmp_path, smallest - 1)
    assert len(split(whole, tmp_path, smallest)) == 3


def test_a_bundle_that_fits_is_one_part_the_same_bytes(press: Press, tmp_path: Path) -> None:
    whole = press.make()
    (part,) = split(whole, tmp_path, 1 << 20)
    assert part.path.read_bytes() == whole.read_bytes()


@given(st.randoms(use_true_random=False), st.integers(1, 9))
def test_any_mix_of_parts_and_damage_gives_the_whole_or_names_what_is_missing(
    draw: random.Random, chunks: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        press = Press.at(root)
        whole = press.make(chunks=chunks, chunk_bytes=700)
        files, sound = [], set()
        for number in range(draw.randrange(1, 5)):
            out = root / f"out-{number}"
            out.mkdir()
            for part in split(whole, out, draw.choice([1900, 2600, 3300])):
                if draw.random() < 0.4:
                    continue
                files.append(part.path)
                kept = range(chunks) if part.places is None else part.places
                if draw.random() < 0.3:
                    raw = part.path.read_bytes()
                    part.path.write_bytes(raw[: -draw.randrange(1, 700)])
                    kept = list(kept)[:-1]  # the cut lies in its last chunk
                sound.update(kept)
        draw.shuffle(files)
        target = root / "joined.pulk"
        if not files:
            return
        if sound == set(range(chunks)):
            join(files, target)
            assert target.read_bytes() == whole.read_bytes()
        else:
            with pytest.raises(Incomplete) as refused:
                join(files, target)
            assert refused.value.fields["count"] == chunks - len(sound)
            assert not target.exists()
        assert not list(root.glob(".*"))


def test_damaged_files_are_passed_over_and_named(press: Press, tmp_path: Path) -> None:
    whole = press.make(chunks=4)
    altered, torn, other = tmp_path / "altered", tmp_path / "torn", tmp_path / "other"
    raw = bytearray(whole.read_bytes())
    raw[-1] ^= 1
    altered.write_bytes(raw)
    torn.write_bytes(whole.read_bytes()[:60])
    other.write_bytes(b"no bundle")
    joined, passed_over = join([torn, other, altered, whole], tmp_path / "joined")
    assert joined[0].path.read_bytes() == whole.read_bytes()
    assert {path for path, _ in passed_over} == {altered, torn, other}
    assert dict(passed_over)[altered] == "chunks 3 are damaged"
    with pytest.raises(Incomplete) as refused:
        join([altered], tmp_path / "not")
    assert refused.value.fields["missing"] == "3"
    with pytest.raises(NothingToJoin):
        join([torn, other], tmp_path / "not")
    assert not (tmp_path / "not").exists()


def test_parts_of_several_bundles_go_into_a_folder(press: Press, tmp_path: Path) -> None:
    wholes = [press.make(n, chunks=4) for n in range(3)]
    out, joined = tmp_path / "out", tmp_path / "joined"
    out.mkdir()
    joined.mkdir()
    files = [part.path for whole in wholes for part in split(whole, out, 3000)]
    with pytest.raises(SeveralBundles):
        join(files, tmp_path / "one.pulk")
    done, _ = join(files, joined)
    assert {one.path.name for one in done} == {whole.name for whole in wholes}
    for whole in wholes:
        assert (joined / whole.name).read_bytes() == whole.read_bytes()
