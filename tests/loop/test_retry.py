"""Retry with the real programs: more of what ran out, and an end to what kills its pilots."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loop import documents
from tests.loop.conftest import rehearse

pytestmark = pytest.mark.programs

# Kills the pilot that runs it, whatever stands between, and never ends well itself.
KILLER = """
import os, signal
pid, pilots = os.getpid(), []
while pid > 1:
    words = open(f'/proc/{pid}/cmdline').read().split(chr(0))
    if 'pilot' in words and '--spool' in words:
        pilots.append(pid)
    pid = int(open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[1])
for pid in reversed(pilots):
    os.kill(pid, signal.SIGKILL)  # the pilot before its slots, which are forks of it by this name
signal.pause()
"""
PLAIN = ("--isolation", "plain")  # isolated, no payload could reach its pilot
# No other task here asks for so much that it could lend this one what it lacks.
HOLD = "import time; held = b'x' * (300 << 20); time.sleep(0.5)"


def test_what_ran_out_of_memory_or_time_gets_more_and_poison_ends_as_failed(
    tmp_path: Path,
) -> None:
    document = documents.write(
        tmp_path / "retry.json",
        {
            "schema": 1,
            "name": "retry",
            "jobs": 2,
            "retry": {"walltime_factor": 5},
            "steps": [
                {
                    "name": "big",
                    "command": ["python3", "-I", "-c", HOLD],
                    "request": {"memory": "64MiB"},
                    "failures_max": 8,
                },
                {
                    "name": "slow",
                    "command": ["sh", "-c", "sleep 1.5"],
                    "request": {"walltime": "500ms", "memory": "64MiB"},
                    "failures_max": 8,
                },
                {
                    "name": "poison",
                    "per": "dataset",
                    "command": ["python3", "-I", "-c", KILLER],
                    "request": {"memory": "64MiB"},
                },
                {"name": "plain", "command": ["true"], "request": {"memory": "64MiB"}},
            ],
        },
    )
    summary = rehearse(document, tmp_path / "rehearsal", "--slots", "2", "--pilots", "1", *PLAIN)
    assert (summary["done"], summary["failed"]) == (6, 1), summary
    assert summary["lost"] == summary["double"] == 0 and summary["fsck_ok"]
    by_step = {one["step"]: one for one in summary["failures"]}
    assert (by_step["big"]["fate"], by_step["slow"]["fate"]) == ("oom", "time-limit")
    assert by_step["poison"]["fate"] == "lost"
    tries = {one["step"]: one["attempts"] for one in summary["steps"]}
    # Three pilots died of it. Others were beside it at most twice: what was lost runs apart.
    assert tries["poison"] == 3
    # One may be seen, and stopped, in the middle of taking its memory: then it is stopped again.
    assert 2 <= summary["fates"]["oom"] <= 8 and 2 <= summary["fates"]["time-limit"] <= 8
