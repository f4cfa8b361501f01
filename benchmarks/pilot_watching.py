"""What one look at a task's processes costs: 100 children, against psutil's recursive walk."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import psutil

from benchmarks.table import Row, below
from pilot.watching.free import FreeMemory
from pilot.watching.memory import Memory
from pilot.watching.processes import Processes, moved_bytes

CHILDREN = 100
LOOKS = 60
WARM_LOOKS = 5
MEMORY_BYTES = 1 << 40  # far away, so that nothing is suspicious: what nearly every look is
_PAYLOAD = (
    "import subprocess, sys\n"
    f"all = [subprocess.Popen(['sleep', '600']) for _ in range({CHILDREN})]\n"
    "print(flush=True); sys.stdin.read()\n"
    "[one.kill() for one in all]; [one.wait() for one in all]\n"
)


def rows() -> list[Row]:
    """Return the rows, medians of interleaved looks, in milliseconds."""
    with subprocess.Popen(
        [sys.executable, "-I", "-c", _PAYLOAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as payload:
        assert payload.stdout is not None
        payload.stdout.readline()
        looks, memory, free = Processes(), Memory(MEMORY_BYTES), FreeMemory()

        def ours() -> None:
            family = looks.look()
            assert len(family) == CHILDREN + 1
            memory.look(family, looks.look)
            moved_bytes([process.pid for process in family[:64]])

        def walked() -> None:
            found = psutil.Process(os.getpid()).children(recursive=True)
            assert sum(process.memory_info().rss for process in found) > 0

        measures: dict[str, Callable[[], object]] = {
            "ours": ours,
            "psutil": walked,
            "node": free.look,
        }
        taken: dict[str, list[float]] = {name: [] for name in measures}
        for look in range(LOOKS + WARM_LOOKS):
            for name, measure in measures.items():
                began_s = time.perf_counter()
                measure()
                if look >= WARM_LOOKS:
                    taken[name].append(1000 * (time.perf_counter() - began_s))
        looks.close()
    figures = {name: statistics.median(values) for name, values in taken.items()}
    what = f"one look at {CHILDREN} children"
    ratio = figures["ours"] / figures["psutil"]
    return [
        below("pilot", what, figures["ours"], "ms", 2.5),
        Row("pilot", what, figures["ours"], "ms", "psutil, recursive", ratio, lower_is_better=True),
        Row("pilot", "one look at the node's free memory", figures["node"], "ms"),
    ]
