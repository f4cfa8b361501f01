"""How soon queues end: the pilot's packing on random nodes, in virtual time.

Against the best of five list heuristics for each queue; they know every length beforehand.
"""

from __future__ import annotations

import random
import statistics
import time

from benchmarks.table import Row
from tests.pilot.worlds import heuristics, packed, world

WORLDS = 1000


def measure() -> list[Row]:
    """Return mean makespans over the best of five, of ours and of each of them."""
    ours: list[float] = []
    theirs: dict[str, list[float]] = {}
    decided_s, tasks = 0.0, 0
    for seed in range(WORLDS):
        one = world(random.Random(seed))
        began_s = time.process_time()
        makespan_us, order = packed(one)
        decided_s += time.process_time() - began_s
        tasks += len(order)
        found = dict(heuristics(one))
        best = min(found.values())
        ours.append(makespan_us / best)
        for name, value in found.items():
            theirs.setdefault(name, []).append(value / best)
    against, mean = "best of five, each queue", statistics.fmean(ours)
    return [
        Row("packing", "makespan", mean, "x", against, mean, 1.05, 1.0, lower_is_better=True),
        *(
            Row("packing", f"makespan, {name}", statistics.fmean(values), "x", against)
            for name, values in theirs.items()
        ),
        Row("packing", "a task packed and learned from", 1e6 * decided_s / tasks, "us CPU"),
    ]
