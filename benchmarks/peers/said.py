"""What a peer's program says about itself: one JSON line, the last one on standard output."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

BEGAN = "PULK_BENCH_BEGAN"  # time.time() when the program was started
SLOTS = 2
TRUE = "/bin/true"


def run_true(_: int = 0) -> int:
    """Do the task in the cheapest way that Python has; return its exit code."""
    pid = os.posix_spawn(TRUE, [TRUE], {})
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def measure(tasks: int, run: Callable[[int], float | None]) -> None:
    """Have `run` do one task, then all of them, and say how long both took.

    `run` may return when the last task ended, by `time.time()`; else that is when it returns. The
    first task's time counts from the start of the program, the others' from their submission.
    """
    first_s = (run(1) or time.time()) - float(os.environ[BEGAN])
    began_s = time.time()
    took_s = (run(tasks) or time.time()) - began_s
    print(json.dumps({"first_s": first_s, "took_s": took_s}), flush=True)
