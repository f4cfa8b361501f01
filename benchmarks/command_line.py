"""How long a person waits for the command line itself: help, completion, a command's own help."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from benchmarks.table import Row, below

ROUNDS = 11
HELP_S, HELP_STRETCH_S = 0.2, 0.1
PULK = [sys.executable, "-I", "-m", "bundle.cli"]
COMPLETING = {"_PULK_COMPLETE": "bash_complete", "COMP_WORDS": "pulk da", "COMP_CWORD": "1"}
WITHIN = {**COMPLETING, "COMP_WORDS": "pulk dataset ex", "COMP_CWORD": "2"}


def measure() -> list[Row]:
    """Return medians over rounds in turn, beside those of an interpreter that does nothing."""
    told = {
        "python that does nothing": ([sys.executable, "-I", "-c", "pass"], {}),
        "pulk --help": ([*PULK, "--help"], {}),
        "pulk dataset --help": ([*PULK, "dataset", "--help"], {}),
        "completing `pulk da`": (PULK, COMPLETING),
        "completing `pulk dataset ex`": (PULK, WITHIN),
    }
    took: dict[str, list[float]] = {name: [] for name in told}
    for _ in range(ROUNDS):
        for name, (words, variables) in told.items():
            began_s = time.perf_counter()
            subprocess.run(
                words, env={**os.environ, **variables}, stdout=subprocess.DEVNULL, check=True
            )
            took[name].append(time.perf_counter() - began_s)
    found = {name: statistics.median(several) for name, several in took.items()}
    rows = [Row("command_line", name, one, "s") for name, one in found.items()]
    rows[1] = below(
        "command_line", "pulk --help", found["pulk --help"], "s", HELP_S, HELP_STRETCH_S
    )
    return rows
