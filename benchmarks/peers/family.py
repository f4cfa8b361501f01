"""Runs a command and accounts for all its processes: `python -m benchmarks.peers.family COMMAND`.

The last line on standard output is a JSON object: `wall_s`, `cpu_s` (of every process that was
waited for, daemons included), `peak_mib` (with `--memory`), `said` (the command's own last line).
With `--offline` nothing but the loopback device exists for the command. With `--unwaited` CPU is
that of all processes as last seen, twice a second: some parents wait for none of theirs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.said import BEGAN
from pilot import linux, offline

LOOK_S = 0.05
SEEN_S = 0.5
GO_S = 10.0  # what is left after the command gets so long to go by itself
_CLONE_NEWUTS = 0x0400_0000


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--offline", action="store_true")
    parser.add_argument("--unwaited", action="store_true")
    parser.add_argument("--limit-s", type=float, default=120.0)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    told = parser.parse_args()
    linux.become_subreaper()
    if told.offline:
        _leave_network()
    looks = [one for one, asked in ((Peak(), told.memory), (Seen(), told.unwaited)) if asked]
    found = _run(told.command, told.limit_s, looks)
    print(json.dumps(found))
    return 0 if found["status"] == 0 else 1


def _leave_network() -> None:
    if (word := offline.enter()) != offline.NAMESPACE:
        raise SystemExit(f"a peer may only talk to itself: {word}")
    linux.unshare(_CLONE_NEWUTS)
    socket.sethostname("localhost")  # what some peers listen at


def _run(command: list[str], limit_s: float, looks: list[Peak | Seen]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out:
        began_s = time.monotonic()
        environment = os.environ | {BEGAN: repr(time.time())}
        child = subprocess.Popen(command, stdout=out, env=environment, start_new_session=True)
        try:
            while child.poll() is None:
                if time.monotonic() > began_s + limit_s:
                    break
                for one in looks:
                    one.look(linux.descendants(os.getpid()))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(min((one.pause_s for one in looks), default=limit_s))
            wall_s = time.monotonic() - began_s
        finally:
            _end_family(child)
        out.seek(0)
        lines = out.read().decode(errors="replace").splitlines()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "status": child.returncode,
        "wall_s": wall_s,
        "cpu_s": max([used.ru_utime + used.ru_stime, *(one.cpu_s for one in looks)]),
        "peak_mib": max((one.mib for one in looks), default=0.0),
        "said": lines[-1] if lines else "",
    }


def _end_family(child: subprocess.Popen[bytes]) -> None:
    """Wait until every process that the command left is gone, and make it go in the end."""
    give_up_s = time.monotonic() + (GO_S if child.poll() is not None else 0)
    while left := linux.descendants(os.getpid()):
        if time.monotonic() > give_up_s:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        child.poll()
        with contextlib.suppress(ChildProcessError):
            if child.returncode is not None:
                os.waitpid(-1, os.WNOHANG)
        time.sleep(0.01)
    child.wait()


class Peak:
    """The largest sum of memory seen, in MiB; shared pages count once.

    Only what lived at two looks in a row counts: of a child that has just been forked, the pages of
    its parent would count again.
    """

    pause_s = LOOK_S
    cpu_s = 0.0

    def __init__(self) -> None:
        """Start at nothing."""
        self.mib = 0.0
        self._before: set[int] = set()

    def look(self, family: list[int]) -> None:
        """Look at some processes."""
        known = self._before & set(family)
        self._before = set(family)
        self.mib = max(self.mib, sum(map(memory_kib, known)) / 1024)


class Seen:
    """The CPU that each process, with what it waited for, had used when it was last seen."""

    pause_s = SEEN_S
    mib = 0.0

    def __init__(self) -> None:
        """Start at nothing."""
        self._used_s: dict[int, float] = {}

    @property
    def cpu_s(self) -> float:
        """Seconds of all."""
        return sum(self._used_s.values())

    def look(self, family: list[int]) -> None:
        """Look at some processes."""
        for pid in family:
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                self._used_s[pid] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid: int) -> int:
    """Return what a process takes of memory, shared pages by its share; 0 where it is gone."""
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/{name}").read_text().splitlines():
                if line.startswith(key):
                    return int(line.split()[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
