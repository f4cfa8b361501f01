"""Gives orders to `child`, a process that holds PSI/J, each with a time limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from site_adapters.errors import ExtraMissing, OutputRefused, SchedulerFailed
from site_adapters.psij.child import MISSING

ANSWER_BYTES_MAX = 64 << 20
IN_DOUBT = -1  # code of SchedulerFailed: it may have obeyed
_CHILD = Path(__file__).with_name("child.py")
_KEPT = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SLURM_CONF",
    "PBS_CONF_FILE", "PBS_SERVER", "PBS_DEFAULT", "PBS_EXEC", "PBS_HOME", "LSF_ENVDIR",
    "LSF_SERVERDIR", "LSF_LIBDIR", "LSF_BINDIR",
)  # fmt: skip


class Orders:
    """One scheduler, by the name of its executor in PSI/J."""

    def __init__(self, scheduler: str, folder: Path, limit_s: float = 30.0) -> None:
        """`folder`: where the executor may write. `limit_s`: how long one order may take."""
        self.scheduler, self._folder, self._limit_s = scheduler, folder, limit_s

    def give(self, order: str, **told: Any) -> Any:
        """Give an order. Raises SchedulerFailed, ExtraMissing, OutputRefused."""
        where = {"order": order, "scheduler": self.scheduler, "folder": str(self._folder)}
        process = subprocess.Popen(
            [sys.executable, "-I", "-W", "ignore", "-c", _MAIN, str(_CHILD.parents[2])],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        with process:
            try:
                given = json.dumps(where | told).encode()
                answer, said = process.communicate(given, self._limit_s)
            except subprocess.TimeoutExpired as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                reason = f"no answer within {self._limit_s:g} s"
                raise self._failed(reason, IN_DOUBT) from error
        if process.returncode == MISSING:
            raise ExtraMissing(python=sys.executable, package="PSI/J (psij-python)", extra="psij")
        if process.returncode:
            lines = [line.strip() for line in said.decode(errors="replace").splitlines()]
            reason = " / ".join(line for line in lines[-3:] if line)[-300:]
            raise self._failed(reason or f"exit status {process.returncode}", process.returncode)
        try:
            if len(answer) > ANSWER_BYTES_MAX:
                raise ValueError
            return json.loads(answer)
        except ValueError as error:
            found = repr(answer[:40])
            raise OutputRefused(program="psij", found=found, expected="one answer") from error

    def _failed(self, reason: str, code: int) -> SchedulerFailed:
        return SchedulerFailed(program=self.scheduler, reason=reason, code=code)


# The parent's own packages come last, wherever they lie; nothing else is on the path.
_MAIN = (
    "import sys; sys.path.append(sys.argv[1])\n"
    "from site_adapters.psij import child\n"
    "sys.exit(child.main())"
)


def environment() -> dict[str, str]:
    """Return what a scheduler's programs and pilots need of the relay's; secrets stay behind."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **kept}
