"""What all tests share: Hypothesis profiles, and where the real inputs lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "test", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "campaign", deadline=None, max_examples=3000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("PULK_HYPOTHESIS", "test"))

REPOSITORY = Path(__file__).parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def workflows() -> Path:
    """The folder of real WfCommons instances; skips where this clone has none beside it."""
    folder = SHARED_DATA / "workflows"
    if not folder.is_dir():
        pytest.skip("the real WfCommons instances (../shared/data/workflows) are not here")
    return folder
