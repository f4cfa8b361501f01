"""What is cheap to send and dear to read is refused within 64 MiB, wherever it is read.

One child process reads them all, one after the other, under one limit. Large honest input costs
what it weighs; nothing here weighs more than 12 MiB.
"""

from __future__ import annotations

import pytest

from tests.attacks import bombs
from tests.attacks.bounded import run_bounded

pytestmark = pytest.mark.sweeps

READERS = sorted(bombs.readers())
UNKNOWN_FIELD = ("bundle", "trust in an unverified bundle")  # may hold anything within the limits
WITHIN = ("490000", "60000", "30000", "20000", "19600", "2400")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    folder = tmp_path_factory.mktemp("bombs")
    bombs.write(folder)
    return dict(run_bounded(bombs.drop, folder))


@pytest.mark.parametrize("name", READERS)
def test_bombs_are_refused_within_64_mib(said: dict[str, dict[str, str]], name: str) -> None:
    assert len(said[name]) >= 3
    assert "MemoryError" not in said[name].values(), said[name]
    read = {what for what, code in said[name].items() if code == "read"}
    if name in UNKNOWN_FIELD:
        read = {what for what in read if not any(f"with {n} " in what for n in WITHIN)}
    assert read == set(), said[name]
