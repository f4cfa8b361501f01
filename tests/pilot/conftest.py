"""The site folder that the pilot's tests run in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pilot.site_folder import SiteFolder


@pytest.fixture
def site(tmp_path: Path) -> SiteFolder:
    """A fresh spool with an authority of its own."""
    return SiteFolder(tmp_path)
