"""A dataset through central, relay and pilots: what a person is promised."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.loop.conftest import COMMAND, assert_sound, rehearse
from tests.loop.documents import diamond, write

pytestmark = pytest.mark.programs

ORDERS = 10


def test_a_diamond_with_a_fan_in_ends_with_every_task_done_once(tmp_path: Path) -> None:
    summary = rehearse(write(tmp_path / "d.json", diamond(6)), tmp_path / "run")
    assert_sound(summary)
    assert summary["tasks"] == 25
    assert summary["edges"]["checked"] == 6 * 4 + 6


def test_a_task_that_tries_the_network_fails_as_network_denied(tmp_path: Path) -> None:
    reach = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    document = diamond(1) | {"name": "caller"}
    document["steps"] = [{"name": "call", "command": ["python3", "-c", reach], "failures_max": 2}]
    summary = rehearse(write(tmp_path / "d.json", document), tmp_path / "run")
    if not summary["offline"].startswith("namespace"):
        pytest.skip(f"no network namespaces here: {summary['offline']}")
    assert summary["failed"] == 1
    assert summary["fates"] == {"network-denied": 2}
    assert summary["exit_code"] == 1
    assert (summary["lost"], summary["double"]) == (0, 0)


def test_a_failing_step_holds_its_children_and_nothing_else(tmp_path: Path) -> None:
    document = diamond(2)
    document["steps"][1]["command"] = ["sh", "-c", "exit 3"]
    summary = rehearse(write(tmp_path / "d.json", document), tmp_path / "run")
    assert (summary["failed"], summary["held"]) == (2, 3)
    assert summary["done"] == 4
    assert summary["fates"]["payload-error"] == 2 * 3


def test_each_way_to_fail_has_its_fate_and_none_is_called_lost(tmp_path: Path) -> None:
    steps = {
        "memory": (
            ["python3", "-c", "import time; x = b'x' * 400_000_000; time.sleep(30)"],
            {"memory": "100MiB"},
        ),
        "walltime": (["sleep", "30"], {"walltime": "1s"}),
        "signal": (["sh", "-c", "kill -SEGV $$$$"], {}),
        "error": (["sh", "-c", "exit 3"], {}),
        "output": (["true"], {}),
    }
    document = diamond(1)
    document["steps"] = [
        {"name": name, "command": command, "request": request, "failures_max": 1}
        for name, (command, request) in steps.items()
    ]
    document["steps"][-1]["outputs"] = ["never-written"]
    summary = rehearse(write(tmp_path / "d.json", document), tmp_path / "run")
    assert summary["fates"] == {
        "oom": 1,
        "time-limit": 1,
        "signal": 1,
        "payload-error": 1,
        "stage-out": 1,
    }
    assert (summary["failed"], summary["lost"], summary["double"]) == (5, 0, 0)


def test_the_archive_merged_in_any_order_gives_the_same_state(tmp_path: Path) -> None:
    summary = rehearse(write(tmp_path / "d.json", diamond(4)), tmp_path / "run")
    central = tmp_path / "run" / "central"
    for seed in range(ORDERS):
        fresh = tmp_path / f"fresh{seed}"
        _pulk(
            *("central", "rebuild", str(fresh), "--archive", str(central / "archive")),
            *("--trust", str(central / "trust"), "--shuffle", str(seed), "--repeat", "2"),
        )
        found = json.loads(_pulk("central", "fsck", str(fresh), "--json"))
        assert found["ok"]
        assert found["state_hash"] == summary["state_hash"]


def _pulk(*arguments: str) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
