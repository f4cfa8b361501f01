"""A fresh world for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.relay.world import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An enrolled site that starts no pilots by itself."""
    return make_world(tmp_path)
