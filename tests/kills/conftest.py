"""Where centrals are made that get killed."""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.kills.plant import Place
from tests.kills.sweep import Point
from tests.testbed import memory, tracer
from tests.testbed.postgresql import Server

ENOUGH_BYTES = 256 << 20
SEED = int(os.environ.get("PULK_SEED", time.time_ns() // 10**9 % 10**6))


@pytest.fixture(scope="session", autouse=True)
def watching() -> None:
    """Skips by name where no system call can be watched."""
    try:
        tracer.check()
    except tracer.Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Memory where there is enough: who is killed loses nothing that it wrote, wherever it lies."""
    on = memory.folder(ENOUGH_BYTES, tmp_path)
    with tempfile.TemporaryDirectory(dir=on, prefix="pulk-kills-") as name:
        yield Path(name)


@pytest.fixture
def sqlite_place(folder: Path) -> Place:
    return Place(folder, None)


@pytest.fixture
def postgresql_place(folder: Path, postgresql: Server) -> Place:
    return Place(folder, postgresql)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> Place:
    """One engine after the other."""
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
def draw() -> random.Random:
    """Whose seed is printed; PULK_SEED draws the same again."""
    print(f"PULK_SEED={SEED}")
    return random.Random(SEED)


def report(name: str, points: Iterable[Point]) -> None:
    """Write how many calls were struck, by act and by call, for who looks at a campaign."""
    every = set(points)
    found = {
        "distinct": len(every),
        "by act": Counter(act.partition(" before ")[0] for _, act, _ in every),
        "by call": Counter(call for call, _, _ in every),
    }
    path = REPOSITORY / ".campaign" / f"kills-{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))
