"""Gives orders to `child`, a process that holds HTCondor's bindings, each with a time limit.

A call of the bindings can't be interrupted: it waits in C++ for a network, with the interpreter's
lock. A thread that waits for it would stay, and could not be ended; a process can be killed. It
costs a twentieth of a second, a few times a tick. Whom an order found silent is not asked again at
once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from site_adapters.errors import BindingsMissing, OutputRefused, SchedulerFailed

ANSWER_BYTES_MAX = 64 << 20
MISSING = 3  # child.MISSING
IN_DOUBT, NOT_ASKED = -1, -2  # codes of SchedulerFailed: it may have obeyed; it can't have
SILENT_S = 60.0
_CHILD = Path(__file__).with_name("child.py")
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "TMPDIR")
PROGRAM = "htcondor"


class Bindings:
    """One pool and one schedd of it; empty names are what HTCondor's configuration says."""

    def __init__(self, pool: str = "", schedd: str = "", limit_s: float = 30.0) -> None:
        """`limit_s`: how long one order may take."""
        self._pool, self._schedd, self._limit_s = pool, schedd, limit_s
        self._silent_until_s = 0.0

    def of_schedd(self, order: str, *, within_s: float = 0.0, **told: Any) -> Any:
        """Give an order to the schedd; `within_s`: it may take longer than others.

        Raises SchedulerFailed, BindingsMissing, OutputRefused.
        """
        where = {"pool": self._pool, "schedd": self._schedd}
        return self._call({"order": order, **where, **told}, max(within_s, self._limit_s))

    def of_pool(self, order: str, **told: Any) -> Any:
        """Give an order to the collector. Raises as `of_schedd`."""
        return self._call({"order": order, "pool": self._pool, **told}, self._limit_s)

    def _call(self, order: dict[str, Any], limit_s: float) -> Any:
        if time.monotonic() < self._silent_until_s:  # each order of a tick would wait as long
            reason = "it did not answer a moment ago"
            raise SchedulerFailed(program=PROGRAM, reason=reason, code=NOT_ASKED)
        process = subprocess.Popen(
            [sys.executable, "-I", "-W", "ignore", str(_CHILD)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        with process:
            try:
                answer, said = process.communicate(json.dumps(order).encode(), limit_s)
            except subprocess.TimeoutExpired as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                self._silent_until_s = time.monotonic() + SILENT_S
                reason = f"no answer within {limit_s:g} s"
                raise SchedulerFailed(program=PROGRAM, reason=reason, code=IN_DOUBT) from error
        if process.returncode == MISSING:
            raise BindingsMissing(python=sys.executable)
        if process.returncode:
            lines = said.decode(errors="replace").split("\n")
            reason = " / ".join(line.strip() for line in lines if line.strip())[-300:]
            reason = reason or f"exit status {process.returncode}"
            raise SchedulerFailed(program=PROGRAM, reason=reason, code=process.returncode)
        try:
            if len(answer) > ANSWER_BYTES_MAX:
                raise ValueError
            return json.loads(answer)
        except ValueError as error:
            found = repr(answer[:40])
            raise OutputRefused(program=PROGRAM, found=found, expected="one answer") from error


def environment() -> dict[str, str]:
    """Return what the bindings need of the relay's environment: where HTCondor's settings are."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    settings = {
        name: value
        for name, value in os.environ.items()
        if name == "CONDOR_CONFIG" or name.upper().startswith("_CONDOR_")
    }
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **kept, **settings}
