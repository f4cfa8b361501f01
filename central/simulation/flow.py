"""Tasks and bundles flowing between central and many sites in virtual time. Pure, deterministic.

Tasks are an amount, not one by one: a site's slots take from what lies there. Each site ticks,
what it did goes home in result bundles, and where a quarter of what it wants to hold is missing
central packs more, as `central.pack` does.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil

from central.simulation.costs import Costs
from central.simulation.scenario import DAY_S, Scenario, SiteKind


@dataclass(slots=True)
class Flow:
    """What flowed. `idle_s`: of slots; `idle_late_s`: that no bundle in time could have avoided."""

    tasks: float = 0.0
    work_bundles: int = 0
    result_bundles: int = 0
    reports: int = 0
    bytes: float = 0.0
    cpu_s: float = 0.0
    idle_s: float = 0.0
    idle_late_s: float = 0.0
    idle_empty_s: float = 0.0  # while there was nothing to do for anybody
    work_tasks_max: int = 0
    slot_s: float = 0.0


@dataclass(slots=True)
class _Site:
    kind: SiteKind
    flow: Flow
    offset_s: float
    stock: float = 0.0
    finished: float = 0.0
    leased: float = 0.0  # as central knows
    at_s: float = 0.0  # up to here it has run
    work: deque[tuple[float, float]] = field(default_factory=deque)  # (comes at, tasks)
    home: deque[tuple[float, float]] = field(default_factory=deque)  # (at central at, tasks)
    first_s: float = -1.0  # when the first work came, or could have after the last absence

    def away(self) -> tuple[float, float]:
        """Return from when to when nothing passes."""
        begins_s = 10 * DAY_S + self.offset_s
        return begins_s, begins_s + self.kind.away_s

    def reached(self, at_s: float) -> bool:
        """Whether anything passes at a time."""
        begins_s, ends_s = self.away()
        return not begins_s <= at_s < ends_s


def simulate(scenario: Scenario, costs: Costs) -> dict[str, Flow]:
    """Return what flowed, by kind of site.

    Args:
        scenario: with what every site holds (`Scenario.sized`).
        costs: of bundles.
    """
    run = _Run(scenario, costs)
    return run.play()


class _Run:
    def __init__(self, scenario: Scenario, costs: Costs) -> None:
        self._scenario, self._costs = scenario, costs
        self.flows = {kind.name: Flow() for kind in scenario.sites}
        self._sites = [
            _Site(kind, self.flows[kind.name], kind.every_s * number / kind.count)
            for kind in scenario.sites
            for number in range(kind.count)
        ]
        self._supply_s = 0.0
        self._supply = float(10**18) if not scenario.tasks_per_day else 0.0

    def play(self) -> dict[str, Flow]:
        """Tick every site until the end."""
        end_s = self._scenario.days * DAY_S
        queue: list[tuple[float, int]] = []
        for number, site in enumerate(self._sites):
            heappush(queue, (site.offset_s, number))
        while queue:
            at_s, number = heappop(queue)
            if at_s >= end_s:
                self._run_until(self._sites[number], end_s)
                continue
            self._tick(self._sites[number], at_s)
            heappush(queue, (at_s + self._sites[number].kind.every_s, number))
        return self.flows

    def _tick(self, site: _Site, at_s: float) -> None:
        self._run_until(site, at_s)
        if not site.reached(at_s):
            return
        self._arrive_home(site, at_s)
        self._send(site, at_s)
        self._ask(site, at_s)

    def _run_until(self, site: _Site, until_s: float) -> None:
        """Let slots work through what lies there, as bundles come."""
        while site.work and site.work[0][0] <= until_s:
            comes_s, tasks = site.work.popleft()
            self._work(site, comes_s)
            if site.first_s < 0:
                site.first_s = comes_s
            site.stock += tasks
        self._work(site, until_s)

    def _work(self, site: _Site, until_s: float) -> None:
        took_s = max(0.0, until_s - site.at_s)
        slots, flow = site.kind.all_slots, site.flow
        ran = min(site.stock, slots * took_s / self._scenario.task_s)
        site.stock -= ran
        site.finished += ran
        idle_s = slots * took_s - ran * self._scenario.task_s
        flow.slot_s += slots * took_s
        flow.idle_s += idle_s
        if idle_s > 0:
            if self._is_late(site, until_s):
                flow.idle_late_s += idle_s
            elif self._supply < 1:
                flow.idle_empty_s += idle_s
        site.at_s = max(site.at_s, until_s)

    def _is_late(self, site: _Site, at_s: float) -> bool:
        """Whether no bundle could have been there: none came yet, or none could pass."""
        begins_s, ends_s = site.away()
        round_s = 2 * site.kind.trip_s + 2 * site.kind.every_s
        return site.first_s < 0 or (site.kind.away_s > 0 and begins_s <= at_s < ends_s + round_s)

    def _send(self, site: _Site, at_s: float) -> None:
        tasks = int(site.finished)
        if not tasks:
            return
        site.finished -= tasks
        site.home.append((at_s + site.kind.trip_s, tasks))
        bundles = ceil(tasks / self._scenario.attempts_per_bundle)
        flow, costs = site.flow, self._costs
        flow.result_bundles += bundles
        flow.tasks += tasks
        flow.bytes += bundles * costs.result_bytes.base + tasks * costs.result_bytes.each
        flow.cpu_s += bundles * costs.merge_s.base + tasks * costs.merge_s.each

    def _arrive_home(self, site: _Site, at_s: float) -> None:
        while site.home and site.home[0][0] <= at_s + site.kind.trip_s:
            site.leased -= site.home.popleft()[1]

    def _ask(self, site: _Site, at_s: float) -> None:
        """Report; central packs where enough is missing."""
        flow, costs = site.flow, self._costs
        flow.reports += 1
        flow.cpu_s += costs.report_s
        flow.bytes += costs.report_bytes
        holds = site.kind.holds
        missing = holds - site.leased
        if missing < 1 or (site.leased >= 1 and 4 * missing < holds):
            return
        self._refill(at_s)
        while (tasks := int(min(missing, self._supply, self._scenario.tasks_per_bundle))) > 0:
            self._supply -= tasks
            missing -= tasks
            site.leased += tasks
            site.work.append((at_s + 2 * site.kind.trip_s, tasks))
            flow.work_bundles += 1
            flow.work_tasks_max = max(flow.work_tasks_max, tasks)
            flow.bytes += costs.work_bytes.at(tasks)
            flow.cpu_s += costs.pack_s.at(tasks)

    def _refill(self, at_s: float) -> None:
        """Let people submit what they do up to a time."""
        if self._scenario.tasks_per_day:
            self._supply += self._scenario.tasks_per_day * (at_s - self._supply_s) / DAY_S
            self._supply_s = at_s
