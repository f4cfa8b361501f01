"""CPU and wall time of a stretch of code, and medians of both over rounds in turn."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

OtherCpu = Callable[[], float]  # seconds of CPU that other processes used so far


@dataclass(slots=True)
class Spent:
    """Seconds of CPU (with those of a database server beside it) and of the wall clock."""

    cpu_s: float = 0.0
    wall_s: float = 0.0

    def per(self, count: int) -> Spent:
        """Return the same in microseconds for each of so many."""
        return Spent(self.cpu_s / count * 1e6, self.wall_s / count * 1e6)


@contextmanager
def spending(other: OtherCpu = lambda: 0.0) -> Iterator[Spent]:
    """Fill in what the body spends; what was left behind before is collected first."""
    spent = Spent()
    gc.collect()
    wall_s, cpu_s, other_s = time.perf_counter(), time.process_time(), other()
    try:
        yield spent
    finally:
        spent.cpu_s = time.process_time() - cpu_s + other() - other_s
        spent.wall_s = time.perf_counter() - wall_s


class Rounds:
    """What was measured by name, round after round."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._found: dict[str, list[Spent]] = {}

    def add(self, name: str, spent: Spent) -> None:
        """Add one round's figure and tell of it."""
        several = self._found.setdefault(name, [])
        several.append(spent)
        told = f"{spent.cpu_s:.4g} CPU, {spent.wall_s:.4g} wall"
        print(f"  round {len(several)} {name}: {told}", file=sys.stderr)

    def names(self) -> list[str]:
        """Return all names in the order in which they came."""
        return list(self._found)

    def cpu(self, name: str) -> float:
        """Return the median of the CPU times."""
        return statistics.median(one.cpu_s for one in self._found[name])

    def wall(self, name: str) -> float:
        """Return the median of the wall times."""
        return statistics.median(one.wall_s for one in self._found[name])
