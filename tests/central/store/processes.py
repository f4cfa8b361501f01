"""Other processes at the same database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.central.store.conftest import Engine

ROOT = Path(__file__).parents[3]
LIMIT_S = 60


def start(engine: Engine, code: str) -> subprocess.Popen[str]:
    """Start Python that has `store` open and says what it prints at once."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", engine.code + code],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run(engine: Engine, code: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    process = start(engine, code)
    out, err = process.communicate(timeout=LIMIT_S)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
