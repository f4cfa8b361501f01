"""`pulk why` as people type it: asked of a real server, answered in words and in JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from central.cli.why import words
from tests.central.site import document
from tests.central.test_http import Served, served

__all__ = ["served"]


def run(served: Served, task: str, *more: str) -> subprocess.CompletedProcess[str]:
    asked = ["--central", served.url, "--token-file", str(served.site.home.token)]
    return subprocess.run(
        [sys.executable, "-I", "-m", "bundle.cli", "why", task, *asked, *more],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )


@pytest.mark.programs
def test_a_person_asks_why_a_task_does_not_run(served: Served) -> None:
    made = served.client.submit(document(3), os.urandom(8).hex())["id"]
    said = run(served, f"{made[:8]}/2/0")
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[0] == f"{made}/2/0 (make) is ready"
    assert "because never-reported at north: it has never reported" in said.stdout
    assert "remedy: run `pulk relay tick` there" in said.stdout
    answer = json.loads(run(served, f"{made}/2/0", "--json").stdout)
    assert (answer["verdict"], answer["reason"]) == ("ready", "never-reported")
    assert run(served, f"{made}/2").returncode == 2
    unknown = run(served, f"{made}/3/0")
    assert unknown.returncode == 1
    assert "unknown-task" in unknown.stderr


def test_the_reason_comes_first_and_every_remedy_is_said() -> None:
    because: list[dict[str, Any]] = [
        {"code": "memory", "site": "north", "text": "too little", "has": "1", "remedy": "more"},
        {"code": "next", "text": "soon"},
    ]
    answer = {"task": "d/1/0", "step": "make", "verdict": "ready", "because": because}
    assert words(answer).splitlines() == [
        "d/1/0 (make) is ready",
        "because memory at north: too little",
        "          has: 1",
        "          remedy: more",
        "    and next: soon",
    ]
