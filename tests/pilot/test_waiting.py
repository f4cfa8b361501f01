"""What a slot hears of tasks that have not begun, or have not got far; processes are real."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from pilot import asides, linux
from pilot.core.fate import Stop
from pilot.messages import Channel
from pilot.waiting import Waiting
from pilot.watching.watch import NEVER_S

STOP = {"stop": str(Stop.CANCELLED), "evidence": "it was called off"}


def leave() -> NoReturn:
    raise AssertionError("the pilot is gone")


class Slot:
    """A slot's waiting, with nothing around it that looks at other processes of the tests."""

    def __init__(self) -> None:
        ours, self._end = socket.socketpair()
        self.pilot = Channel(ours)
        no_files: Any = SimpleNamespace(ram_bytes=lambda: 0, kill_all=lambda: None)
        log: Any = SimpleNamespace(size=lambda: 0)
        self._waiting = Waiting(Channel(self._end), log, no_files, no_files, lambda: None, leave)

    def close(self) -> None:
        """Let both ends go."""
        self.pilot.socket.close()
        self._end.close()

    def run(self, local: int, *argv: str, after_s: float = 0.0) -> dict[str, Any]:
        """Wait for a task, from so long after its start on; return what is said of it."""
        watch: Any = SimpleNamespace(next_look_s=NEVER_S, has_looked=False)
        request = {"walltime_ms": 20_000, "outputs": []}
        reply: dict[str, Any] = {"local": local}
        with subprocess.Popen(argv, process_group=0) as process:
            time.sleep(after_s)
            self._waiting.reaped(process.pid, watch, request, reply, asides.PLAIN)
            process.returncode = 0  # it was reaped
        return reply


@pytest.fixture
def slot() -> Iterator[Slot]:
    made = Slot()
    yield made
    made.close()


def test_a_stop_for_a_later_task_outlives_one_between_that_is_over_at_once(slot: Slot) -> None:
    slot.pilot.send(STOP | {"local": 3})
    assert "stop" not in slot.run(1, "/bin/sleep", "0.1")
    assert "stop" not in slot.run(2, "/bin/true", after_s=0.2)  # dead before it is waited for
    begun_s = time.monotonic()
    assert slot.run(3, "/bin/sleep", "10")["stop"] == str(Stop.CANCELLED)
    assert time.monotonic() - begun_s < 5


def test_a_stop_for_a_task_that_is_over_stops_no_later_one(slot: Slot) -> None:
    slot.pilot.send(STOP | {"local": 1})
    assert "stop" not in slot.run(2, "/bin/sleep", "0.1")
    assert "stop" not in slot.run(3, "/bin/sleep", "0.1")


@pytest.mark.parametrize(
    ("code", "is_ready"),
    [
        ("exec sleep 20", False),
        ("trap : USR2; echo; sleep 20 & wait", True),
        ("trap '' USR2; echo; exec sleep 20", True),
    ],
    ids=["neither", "catches", "ignores"],
)
def test_only_who_can_take_a_signal_is_ready_for_it(code: str, is_ready: bool) -> None:
    argv = ["/bin/bash", "-c", code]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, process_group=0) as process:
        assert process.stdout is not None
        if is_ready:
            process.stdout.readline()  # it has got so far
        assert linux.is_ready_for(process.pid, signal.SIGUSR2) is is_ready
        os.killpg(process.pid, signal.SIGKILL)
    assert not linux.is_ready_for(process.pid, signal.SIGUSR2)
