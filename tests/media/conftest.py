"""A press for small bundles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.media.made import Press


@pytest.fixture
def press(tmp_path: Path) -> Press:
    """Makes bundles in `tmp_path / goods`."""
    return Press.at(tmp_path)


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """An empty medium."""
    made = tmp_path / "stick"
    made.mkdir()
    return made
