"""Many short tasks on one node: `/bin/true`, two slots, journal, limits, monitoring and seal on.

Floor: a C loop around posix_spawn. Peers: the same loop in Python, xargs, GNU parallel, HyperQueue,
Parsl, Ray, Dask. The pilot's figures hold its start and its seal; the peers' do not hold theirs.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import pilot_many, pilot_spool, pilot_watching
from benchmarks.peers import systems
from benchmarks.peers.install import PINNED
from benchmarks.peers.systems import Ran, System
from benchmarks.table import Row, below, missing
from bundle.fates import Fate

TASKS = 10_000
ROUNDS = 3
OURS, ISOLATED, FLOOR = "pulk pilot", "pulk pilot, isolated", "C posix_spawn"
MODULES = {
    "HyperQueue": ("with_hyperqueue", 2_000),
    "Parsl HTEX": ("with_parsl", 2_000),
    "Ray": ("with_ray", 2_000),
    "Dask": ("with_dask", 1_500),
}


def measure() -> list[Row]:
    """Return the rows: medians of three interleaved rounds."""
    with tempfile.TemporaryDirectory(prefix="pulk-bench-") as folder:
        root = Path(folder)
        absent: dict[str, str] = {}
        runs = _rounds(_systems(root, absent), absent)
        rows = [row for name, ran in runs.items() for row in _about(name, ran)]
        rows += _against(runs)
        rows += [missing("pilot", name, why) for name, why in absent.items()]
        return rows + pilot_many.rows(root) + pilot_watching.rows()


class Runs:
    """What the rounds of one system came to."""

    def __init__(self, system: System) -> None:
        """Start with nothing. `peak_mib` and `start_cpu_s` come from runs of their own."""
        self.system = system
        self.timed: list[Ran] = []
        self.peak_mib = 0.0
        self.start_cpu_s = 0.0

    def add(self) -> None:
        """Run one round."""
        self.timed.append(self.system.run(self.system.tasks, False))

    def weigh(self) -> None:
        """Run once with memory looked at, and once for a single task."""
        self.peak_mib = self.system.run(self.system.tasks, True).peak_mib
        self.start_cpu_s = self.system.run(1, False).cpu_s

    @property
    def tasks_s(self) -> float:
        """Tasks a second."""
        return self.system.tasks / statistics.median(one.took_s for one in self.timed)

    @property
    def whole_cpu_ms(self) -> float:
        """Milliseconds of CPU a task, the start included."""
        return 1e3 * statistics.median(one.cpu_s for one in self.timed) / self.system.tasks

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of CPU that a task more costs."""
        return self.whole_cpu_ms - 1e3 * self.start_cpu_s / self.system.tasks

    @property
    def first_s(self) -> float | None:
        """Seconds from the start of the program to the end of the first task."""
        known = [one.first_s for one in self.timed if one.first_s is not None]
        return statistics.median(known) if known else None


def _systems(root: Path, absent: dict[str, str]) -> list[System]:
    """Return what can be measured here; `absent` is told the rest."""
    found = [
        System(OURS, TASKS, lambda tasks, memory: _pilot(root, tasks, memory, "plain")),
        System(ISOLATED, TASKS, lambda tasks, memory: _pilot(root, tasks, memory, "required")),
    ]
    with systems.tried(FLOOR, absent):
        found.append(systems.floor(root / "floor", TASKS))
    found += [systems.loop(TASKS), systems.xargs(TASKS)]
    with systems.tried("GNU parallel", absent):
        found.append(systems.parallel(600))
    for name in PINNED:
        with systems.tried(name, absent):
            found.append(systems.from_pypi(name, *MODULES[name]))
    return found


def _rounds(every: list[System], absent: dict[str, str]) -> dict[str, Runs]:
    """Run all in turn, round after round; what fails once is left out and told."""
    runs = {one.name: Runs(one) for one in every}
    for number in range(ROUNDS + 1):
        for name, one in list(runs.items()):
            began_s = time.monotonic()
            with systems.tried(name, absent):
                if number < ROUNDS:
                    one.add()
                else:
                    one.weigh()
            if name in absent:
                del runs[name]
                continue
            word = f"round {number + 1}/{ROUNDS}" if number < ROUNDS else "weighed"
            took_s = time.monotonic() - began_s
            print(f"  {word} {name}: {one.tasks_s:.4g} tasks/s ({took_s:.1f} s)", file=sys.stderr)
    return runs


def _about(name: str, one: Runs) -> list[Row]:
    """Return what a system costs."""
    rows = [
        Row("pilot", name, one.tasks_s, "tasks/s"),
        Row("pilot", f"{name}: CPU a task more", one.cpu_ms, "ms"),
        Row("pilot", f"{name}: memory at its peak", one.peak_mib, "MiB"),
    ]
    if one.first_s is not None:
        rows.append(Row("pilot", f"{name}: start to end of first task", one.first_s, "s"))
    return rows


def _against(runs: dict[str, Runs]) -> list[Row]:
    """Return ours against the floor and the peers, with the targets."""
    rows = []
    ours, floor = runs[OURS], runs.get(FLOOR)
    for peer, one in runs.items():
        targets = {FLOOR: (0.70, 0.90)}.get(peer, (None, None))
        if peer.startswith("HyperQueue"):
            targets = (3.5, 5.0)
            if isolated := runs.get(ISOLATED):
                ratio = isolated.tasks_s / one.tasks_s
                rows.append(
                    Row("pilot", ISOLATED, isolated.tasks_s, "tasks/s", peer, ratio, None, 2.0)
                )
        if peer != OURS:
            ratio = ours.tasks_s / one.tasks_s
            rows.append(Row("pilot", OURS, ours.tasks_s, "tasks/s", peer, ratio, *targets))
    if floor is not None:
        over_ms = ours.whole_cpu_ms - floor.whole_cpu_ms
        rows.append(
            below("pilot", "CPU a task over the floor, start included", over_ms, "ms", 0.15, 0.08)
        )
    rows.append(
        below("pilot", "pilot and its two slots, at their peak", ours.peak_mib, "MiB", 40, 25)
    )
    assert ours.first_s is not None
    rows.append(below("pilot", "first task ended", ours.first_s, "s", 0.5, 0.15))
    return rows


def _pilot(root: Path, tasks: int, memory: bool, isolation: str) -> Ran:
    """Run one pilot over one shard, from its start to its exit."""
    with tempfile.TemporaryDirectory(dir=root) as folder:
        spool = pilot_spool.spool_with(Path(folder), tasks)
        command = pilot_spool.command(spool, isolation)
        began_us = time.monotonic_ns() // 1000
        found = systems.watched(command, memory=memory)
        attempts = list(pilot_spool.sealed(spool))
        assert [one.fate for one in attempts] == [Fate.SUCCESS] * tasks
    first_us = min(one.ended_mono_us for one in attempts) - began_us
    return Ran(found["wall_s"], found["cpu_s"], found["peak_mib"], first_us / 1e6)
