"""A validator of RO-Crates that is not ours, in a virtual environment of its own.

It wants another version of a package that Pulk uses, so it cannot be beside Pulk.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
FOLDER = REPOSITORY / ".venv" / "roc-validator"
PACKAGE = "roc-validator==0.13.0"
SCRIPT = REPOSITORY / "tests" / "commands" / "validate_crate.py"
INSTALL_S, RUN_S = 280, 120


def issues(crate: Path, profile: str) -> list[str]:
    """Return what it finds wrong with a crate; skips by name where it can't be had."""
    done = subprocess.run(
        [str(_python()), "-I", str(SCRIPT), str(crate), profile],
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


def _python() -> Path:
    python, ready = FOLDER / "bin" / "python", FOLDER / ".ready"
    if not ready.exists():
        venv.create(FOLDER, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", PACKAGE]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if done.returncode:
            pytest.skip(f"{PACKAGE} can't be installed here: {done.stderr[-300:]}")
        ready.touch()
    assert sys.version_info >= (3, 11)
    return python
