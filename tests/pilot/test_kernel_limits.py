"""The kernel's limits are put on a process that has begun: what it did first must not matter."""

from __future__ import annotations

import subprocess

import pytest

from pilot.isolation import limits

ASKED = {"disk_bytes": 1 << 20, "walltime_ms": 5000}


@pytest.mark.parametrize(
    ("first", "asked", "then"),
    [
        (":", "ulimit -f", 1024),
        ("ulimit -S -t 1", "ulimit -S -t", 1),
        ("ulimit -S -f 2", "ulimit -S -f", 2),
        ("ulimit -S -f 4096", "ulimit -S -f", 1024),
        ("ulimit -S -t 1", "test $(ulimit -H -t) -lt 100000; echo $?", 0),
    ],
)
def test_a_lower_limit_that_a_task_puts_on_itself_stays(first: str, asked: str, then: int) -> None:
    code = f"{first}; echo first; read line; {asked}"
    with subprocess.Popen(
        ["bash", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as task:
        assert task.stdin is not None and task.stdout is not None
        assert task.stdout.readline() == "first\n"
        limits.put(task.pid, ASKED)
        task.stdin.write("now\n")
        task.stdin.flush()
        assert int(task.stdout.readline()) == then
