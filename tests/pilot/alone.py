"""A part of a test that is played in a process of its own: what it looks at is all below it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from tests.conftest import REPOSITORY

LIMIT_S = 60


def alone(play: Callable[..., None], *arguments: str) -> None:
    """Play a function of a test's module, given texts, in a process that has no other children."""
    code = f"import sys; from {play.__module__} import {play.__name__} as p; p(*sys.argv[1:])"
    argv = [sys.executable, "-c", code, *arguments]
    subprocess.run(argv, cwd=REPOSITORY, check=True, timeout=LIMIT_S)
