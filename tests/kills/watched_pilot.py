"""Runs a real pilot and strikes it at its system calls: `python -m tests.kills.watched_pilot SITE`.

More arguments, `NUMBER:SIGNAL`, say which signal it gets right before which of the calls that
count. Says as JSON what it called, which signal ended it, and which processes it left behind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pilot import linux
from tests.testbed.tracer import Call, Watch

SLOTS = 2
FULL = 5  # attempts in a segment, so that one is sealed in the middle of a shard
GO_S = 15.0  # tasks of a dead pilot are gone by then
_PROGRAM = (
    "from pilot import recorder; "
    f"recorder.ATTEMPTS_FULL = {FULL}; "
    "from bundle.cli.main import main; main()"
)


def command(site: str) -> list[str]:
    """Return how a pilot is started over the spool of a relay's folder."""
    return [
        *(sys.executable, "-I", "-c", _PROGRAM, "pilot", "run", "--batch-id", "by-hand"),
        *("--spool", site, "--config", str(Path(site) / "relay.toml")),
        *("--slots", str(SLOTS), "--idle-s", "0"),
    ]


def main(site: str, *strikes: str) -> int:
    """Run a pilot and strike it."""
    linux.become_subreaper()
    due = {int(number): int(which) for number, which in (one.split(":") for one in strikes)}
    process = subprocess.Popen(command(site), stdin=subprocess.DEVNULL, stdout=sys.stderr)
    calls: list[str] = []

    def strike(call: Call) -> int:
        calls.append(call.name)
        if (number := due.get(len(calls))) is not None:
            os.kill(process.pid, number)
        return 0

    status = Watch(process.pid, strike).until_end()
    left = _gone()
    killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if not killed and os.WEXITSTATUS(status):
        raise SystemExit(f"the pilot ended with {os.WEXITSTATUS(status)}")
    print(json.dumps({"calls": calls, "signal": killed, "left": left}), flush=True)
    return 0


def _gone() -> list[str]:
    """Wait until nothing of the pilot is there any more; return what stayed, killed by now."""
    give_up_s = time.monotonic() + GO_S
    while time.monotonic() < give_up_s:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.005)
        except ChildProcessError:
            return []
    left = linux.descendants(os.getpid())
    words = [Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in left]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return words


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
