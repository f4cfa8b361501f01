"""The loop with the real programs: every test here starts central, relay and pilots."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LIMIT_S = 280
COMMAND = [sys.executable, "-I", "-m", "bundle.cli"]


def rehearse(document: Path, root: Path, *options: str, limit_s: int = LIMIT_S) -> dict[str, Any]:
    """Run `pulk rehearse --json` and return its document, whatever its verdict."""
    done = subprocess.run(
        [*COMMAND, "rehearse", str(document), "--dir", str(root), "--json", *options],
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert done.stdout.strip(), f"exit {done.returncode}: {done.stderr[-3000:]}"
    summary = json.loads(done.stdout)
    assert "error" not in summary, summary
    summary["exit_code"] = done.returncode
    return dict(summary)


def assert_sound(summary: dict[str, Any]) -> None:
    """Nothing lost, nothing double, every edge respected, every task done."""
    problems = summary["problems"]
    assert summary["lost"] == 0, problems
    assert summary["double"] == 0, problems
    assert summary["edges"]["violations"] == 0, problems
    assert summary["done"] == summary["tasks"], summary
    assert summary["exit_code"] == 0
