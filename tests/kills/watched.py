"""Runs a real server and kills it at one of its system calls: `python -m tests.kills.watched`.

Says `ready` and the server's process id once it listens, then what it called until it ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.kills.sweep import killing
from tests.testbed.tracer import Call, Watch

COMMAND = [sys.executable, "-I", "-m", "bundle.cli", "central", "serve", "--port", "0"]
LIMIT_S = 60.0


def main(root: str, number: str) -> int:
    """Serve a central's folder until the n-th call that counts, or until it ends."""
    address = Path(root, "address")
    with Path(root).with_name("serve.log").open("ab") as log:
        server = subprocess.Popen(
            [*COMMAND, root], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    deadline = time.monotonic() + LIMIT_S
    while not address.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            return 1
        time.sleep(0.02)
    calls: list[str] = []
    kill = killing(int(number))

    def strike(call: Call) -> int:
        calls.append(call.name)
        return kill(call)

    watch = Watch(server.pid, strike)
    print("ready", server.pid, flush=True)
    status = watch.until_end()
    print(json.dumps({"calls": calls, "killed": os.WIFSIGNALED(status)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
