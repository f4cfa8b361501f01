"""SIGKILL at any file operation of export and import: whole files or `.part`, nothing between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bundle.media.fill import Filling, fill
from bundle.media.goods import goods_in
from bundle.media.parts import join, split
from bundle.media.sight import look, sound_places
from bundle.media.take import Reception, take
from tests.media.made import Press
from tests.relay.test_crash import killed_at

pytestmark = pytest.mark.programs

KILLS_MAX = 80


def sweep(work: Callable[[], object], check: Callable[[], None]) -> None:
    """Kill at the first, second, third... operation, going on with what each kill left."""
    for number in range(1, KILLS_MAX):
        was_killed = killed_at(number, work)
        check()
        if not was_killed:
            return
    raise AssertionError("it never came to an end")


def whole_files(folder: Path, *originals: Path) -> None:
    """Every bundle file in a folder is one of the originals, or a part of one, whole."""
    by_id = {path.stem: path.read_bytes() for path in originals}
    for path in folder.glob("*.pulk"):
        sight = look(path)
        assert len(sound_places(path)) == len(sight.sizes)
        if sight.claims_all:
            assert path.read_bytes() == by_id[sight.facts.id]


def test_a_kill_while_a_medium_is_filled(press: Press, stick: Path) -> None:
    paths = [press.make(0), press.make(1, chunks=6)]

    def work() -> None:
        how = Filling(press.goods / "pulk-carried", "a test", part_bytes=5000)
        fill(goods_in(press.goods), stick, how)

    sweep(work, lambda: whole_files(stick, *paths))
    assert not list(stick.glob(".*"))
    came = {look(path).facts.id for path in stick.glob("*.pulk")}
    assert came == {path.stem for path in paths}


def test_a_kill_while_a_medium_is_taken(press: Press, stick: Path, tmp_path: Path) -> None:
    paths = [press.make(0), press.make(1, chunks=6)]
    into = tmp_path / "into"
    (stick / "X").write_bytes(paths[0].read_bytes())
    (stick / "bad.pulk").write_bytes(paths[0].read_bytes()[:50])
    split(paths[1], stick, 4000)
    reception = Reception(
        into=into,
        parts=into / "parts",
        quarantine=into / "quarantine",
        known=lambda bundle: (into / f"{bundle}.pulk").exists(),
    )

    def check() -> None:
        whole_files(into, *paths)
        whole_files(into / "parts", *paths)

    sweep(lambda: list(take(stick, reception)), check)
    assert {path.stem for path in into.glob("*.pulk")} == {path.stem for path in paths}
    assert len(list((into / "quarantine").glob("*.pulk"))) == 1


def test_a_kill_while_parts_are_joined(press: Press, tmp_path: Path) -> None:
    whole = press.make(chunks=5)
    out, joined = tmp_path / "out", tmp_path / "joined"
    out.mkdir()
    joined.mkdir()
    parts = [part.path for part in split(whole, out, 3000)]
    sweep(lambda: join(parts, joined), lambda: whole_files(joined, whole))
    assert (joined / whole.name).exists()
