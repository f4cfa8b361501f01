"""What bundles cost central: a real one, in a folder of its own, handles some and is timed.

CPU seconds of this process and bytes of the bundles, at two sizes; in between and beyond both are
taken to grow in a straight line, for a bundle's cost does not depend on what the database holds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Request, Step
from central import home as homes
from central.authority import Authority
from central.config import Config, PlannerSection
from central.home import Home
from central.simulation.echo import Echo

T = TypeVar("T")
SITE = "measured"


@dataclass(frozen=True, slots=True)
class Line:
    """A cost as a function of a bundle's tasks: `base` and so much for each."""

    base: float
    each: float

    @classmethod
    def through(cls, first: tuple[int, float], second: tuple[int, float]) -> Line:
        """Return the line through two (tasks, cost), falling nowhere."""
        each = max(0.0, (second[1] - first[1]) / (second[0] - first[0]))
        return cls(max(0.0, first[1] - each * first[0]), each)

    def at(self, tasks: float) -> float:
        """Return the cost of a bundle of so many tasks."""
        return self.base + self.each * tasks


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU seconds and bytes of each kind of bundle."""

    pack_s: Line
    merge_s: Line
    report_s: float
    work_bytes: Line
    result_bytes: Line
    report_bytes: float


def measure(folder: Path, sizes: tuple[int, int]) -> Costs:
    """Pack, answer and merge bundles of two sizes with a real central in an empty folder.

    Args:
        folder: is filled; on a disk like the one that central will have.
        sizes: how many tasks the bundles have, about, the smaller first.
    """
    home = Home(folder / "central")
    homes.create(home)
    planner = PlannerSection(bundle_tasks_max=sizes[1])
    authority = Authority.open(home, Config(planner=planner), clock_us=homes.now_us)
    try:
        site = Echo(SITE, folder / SITE, authority)
        _submit(authority, 4 * sum(sizes))
        _once(authority, site, 100)  # code and caches are warm from here on
        return _costs([_once(authority, site, size) for size in sizes])
    finally:
        authority.close()


@dataclass(frozen=True, slots=True)
class _Round:
    """One bundle there and back: CPU seconds and bytes."""

    tasks: int
    report: tuple[float, int]
    work: tuple[float, int]
    result: tuple[float, int]


def _costs(rounds: list[_Round]) -> Costs:
    small, large = rounds

    def line(part: Callable[[_Round], float]) -> Line:
        return Line.through((small.tasks, part(small)), (large.tasks, part(large)))

    return Costs(
        pack_s=line(lambda one: one.work[0]),
        merge_s=line(lambda one: one.result[0]),
        report_s=min(one.report[0] for one in rounds),
        work_bytes=line(lambda one: one.work[1]),
        result_bytes=line(lambda one: one.result[1]),
        report_bytes=min(one.report[1] for one in rounds),
    )


def _submit(authority: Authority, jobs: int) -> None:
    request = Request(walltime_ms=3_600_000)
    step = Step("run", Command(("/bin/true",)), request=request)
    raw = spec.encode(Dataset("measured", jobs, 1, (step,)))
    authority.submit(raw, idempotency_key=os.urandom(8).hex(), token_id=1)


def _once(authority: Authority, site: Echo, tasks: int) -> _Round:
    """Let a site report, fetch and answer a bundle of so many tasks, or what central gives."""
    before = site.tasks
    report = site.report(tasks)
    report_s, _ = _timed(lambda: authority.absorb(report))
    report_bytes = report.stat().st_size
    work_s, waiting = _timed(lambda: authority.outbox(site.name))
    paths = [authority.outgoing(site.name, one.id) for one in waiting]
    work_bytes = sum(path.stat().st_size for path in paths)
    answers = [answer for path in paths if (answer := site.answer(path)) is not None]
    result_bytes = sum(path.stat().st_size for path in answers)
    result_s, _ = _timed(lambda: [authority.absorb(path) for path in answers])
    for path in (report, *answers):
        path.unlink()
    return _Round(
        site.tasks - before,
        (report_s, report_bytes),
        (work_s, work_bytes),
        (result_s, result_bytes),
    )


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    begun_s = time.process_time()
    found = work()
    return time.process_time() - begun_s, found
