"""A fresh plant for each test: a central whose roots are 2 of 3."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.keys.plant import Plant


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path).create()
