"""The generator of the published vectors makes the committed bytes, and nothing depends on when."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attacks import make_vectors


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    return make_vectors.files()


def test_the_generator_makes_the_committed_bytes(made: dict[str, bytes]) -> None:
    committed = {path.name: path.read_bytes() for path in make_vectors.FOLDER.iterdir()}
    assert sorted(made) == sorted(committed)
    assert [name for name in made if made[name] != committed[name]] == []


def test_made_again_elsewhere_they_are_the_same(made: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "left over.pulk").write_bytes(b"old")
    assert make_vectors.main([str(tmp_path)]) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == made


def test_the_index_says_aloud_that_its_keys_are_for_tests(made: dict[str, bytes]) -> None:
    assert b"PUBLISHED: FOR TESTS ONLY" in made[make_vectors.INDEX]
    page = make_vectors.FOLDER.parent / "bundle-format.md"
    assert "they are for tests only" in page.read_text()
