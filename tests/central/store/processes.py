"""Other processes at the same database."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.central.store.conftest import Engine

ROOT = Path(__file__).parents[3]
LIMIT_S = 60


def start(
    engine: Engine, code: str, *, before: str = "", under: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start Python that has `store` open and says what it prints at once.

    Args:
        engine: whose database.
        code: what it runs then.
        before: what it runs before it opens the store.
        under: a program, with its arguments, that starts Python.
    """
    return subprocess.Popen(
        [*under, sys.executable, "-u", "-c", before + engine.code + code],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run(
    engine: Engine, code: str, *, before: str = "", under: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    process = start(engine, code, before=before, under=under)
    out, err = process.communicate(timeout=LIMIT_S)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
