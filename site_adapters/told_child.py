"""One order for a child process of ours that loads what may hang: JSON in, JSON out, a time limit.

A scheduler's bindings block without end and crash in their own ways; what is killed with its whole
session holds up no tick.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from site_adapters.errors import OutputRefused, SchedulerFailed

ANSWER_BYTES_MAX = 64 << 20
IN_DOUBT = -1  # code of SchedulerFailed: it may have obeyed
REASON_CHARS_MAX = 300


def give(
    order: Mapping[str, Any],
    arguments: Sequence[str],
    environment: Mapping[str, str],
    limit_s: float,
    *,
    failed: str,
    printed: str,
    lines_max: int | None = None,
) -> Any:
    """Give an order to a fresh interpreter and return its answer.

    Args:
        order: plain values.
        arguments: of the interpreter, behind what isolates it.
        environment: all that the child has.
        limit_s: how long it may take.
        failed: the program that SchedulerFailed names.
        printed: the one that OutputRefused names.
        lines_max: how many of the last lines of its errors are told; None: all.

    Raises SchedulerFailed, with the exit status or IN_DOUBT as its code, and OutputRefused.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", "-W", "ignore", *arguments],
        env=dict(environment),
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
            reason = f"no answer within {limit_s:g} s"
            raise SchedulerFailed(program=failed, reason=reason, code=IN_DOUBT) from error
    if process.returncode:
        lines = [line.strip() for line in said.decode(errors="replace").split("\n")]
        lines = [line for line in lines if line]
        told = lines if lines_max is None else lines[-lines_max:]
        reason = " / ".join(told)[-REASON_CHARS_MAX:]
        reason = reason or f"exit status {process.returncode}"
        raise SchedulerFailed(program=failed, reason=reason, code=process.returncode)
    try:
        if len(answer) > ANSWER_BYTES_MAX:
            raise ValueError
        return json.loads(answer)
    except ValueError as error:
        found = repr(answer[:40])
        raise OutputRefused(program=printed, found=found, expected="one answer") from error
