"""Runs Slurm's programs, each with a time limit. What they print is read elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence

from site_adapters.errors import SchedulerFailed
from site_adapters.slurm.tables import text_of

OUTPUT_BYTES_MAX = 64 << 20
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
_SLURMS = ("SLURM_CONF", "SLURM_CONF_SERVER")


def run(argv: Sequence[str], limit_s: float, given: bytes = b"") -> bytes:
    """Run a program and return its output.

    Raises SchedulerFailed: `code` 127 where it is missing, -1 where it took too long, else its
    exit status; `reason` is the last of what it said.
    """
    program = argv[0]
    try:
        process = subprocess.Popen(
            list(argv),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise SchedulerFailed(program=program, reason=reason, code=127) from error
    with process:
        try:
            output, said = process.communicate(given, timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)  # its children too: a wrapper may have some
            process.communicate()
            reason = f"no answer within {limit_s:g} s"
            raise SchedulerFailed(program=program, reason=reason, code=-1) from error
    if process.returncode:
        lines = [line for line in text_of(said).splitlines() if line.strip()]
        reason = " / ".join(lines[-2:]) or f"exit status {process.returncode}"
        raise SchedulerFailed(program=program, reason=reason, code=process.returncode)
    if len(output) > OUTPUT_BYTES_MAX:
        reason = f"it printed {len(output)} bytes"
        raise SchedulerFailed(program=program, reason=reason, code=0)
    return output


def environment() -> dict[str, str]:
    """Return what programs and pilots need of the relay's environment; secrets stay behind.

    Variables that change what Slurm's programs do or print stay behind too.
    """
    kept = {name: os.environ[name] for name in (*_KEPT, *_SLURMS) if name in os.environ}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **kept}
