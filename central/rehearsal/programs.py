"""Starting, killing and stopping the real programs of a rehearsal, by process id."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from bundle.errors import PulkError

COMMAND_TIMEOUT_S = 600
STOP_TIMEOUT_S = 15.0


class ProgramFailed(PulkError):
    """A program of the rehearsal ended with an error. Its log has the reason."""

    code = "program-failed"
    what = "`{command}` ended with {status}: {said}"
    remedy = "read the log beside it; the rehearsal's folder is kept"


def pulk(*arguments: str) -> list[str]:
    """Return the argument vector that runs `pulk` with this interpreter, isolated."""
    return [sys.executable, "-I", "-m", "bundle.cli", *arguments]


def call(*arguments: str) -> str:
    """Run one `pulk` command to its end and return its stdout. Raises ProgramFailed."""
    done = subprocess.run(
        pulk(*arguments), capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise ProgramFailed(
            command=f"pulk {' '.join(arguments)}",
            status=done.returncode,
            said=done.stderr.strip()[-2000:],
        )
    return done.stdout


def call_json(*arguments: str) -> Any:
    """Run one `pulk ... --json` command and return its document. Raises ProgramFailed."""
    return json.loads(call(*arguments, "--json"))


class Program:
    """A long-running `pulk` command with its log; it may be started again after a kill."""

    def __init__(self, name: str, arguments: list[str], logs: Path) -> None:
        """Name the program; nothing runs yet."""
        self.name = name
        self.arguments = arguments
        self.log = logs / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        """Start it in a session of its own, appending to its log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                pulk(*self.arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.starts += 1

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.process is not None and self.running:
            self.process.kill()
            self.process.wait(STOP_TIMEOUT_S)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after a while."""
        if self.process is None or not self.running:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def ended_badly(self) -> str | None:
        """Return the end of the log where the program ended by itself with an error."""
        if self.process is None or self.process.poll() in (None, 0, -signal.SIGKILL):
            return None
        return self.log.read_text(errors="replace")[-2000:]


def kill_process(pid: int) -> bool:
    """SIGKILL one process; False where it was gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def kill_sessions(pids: list[int]) -> None:
    """SIGKILL what is left of the sessions these processes lead, and wait for their end."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    members = [p for p in psutil.process_iter() if _session(p.pid) in pids]
    for member in members:
        with contextlib.suppress(psutil.Error):
            member.kill()
    psutil.wait_procs(members, timeout=max(0.0, deadline - time.monotonic()))


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1
