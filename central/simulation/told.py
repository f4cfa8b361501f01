"""What a simulation tells: one document for programs, a few lines and a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from central.simulation.costs import Costs
from central.simulation.flow import Flow
from central.simulation.scenario import DAY_S, Scenario

CORE_S_PER_DAY = DAY_S


def document(scenario: Scenario, costs: Costs, flows: Mapping[str, Flow]) -> dict[str, Any]:
    """Return everything as plain values; per day unless a name says otherwise."""
    sites = [_site(scenario, kind.name, flows[kind.name]) for kind in scenario.sites]
    whole = _sum(list(flows.values()))
    days = scenario.days
    return {
        "days": days,
        "nodes": scenario.nodes,
        "sites": sites,
        "tasks_per_day": round(whole.tasks / days),
        "capacity_per_day": round(scenario.capacity_per_day()),
        "bundles_per_day": {
            "work": round(whole.work_bundles / days, 1),
            "result": round(whole.result_bundles / days, 1),
            "report": round(whole.reports / days, 1),
        },
        "bytes_per_day": round(whole.bytes / days),
        "central_cores": round(whole.cpu_s / (days * CORE_S_PER_DAY), 4),
        "idle": _idle(scenario, flows),
        "costs": asdict(costs),
    }


def _site(scenario: Scenario, name: str, flow: Flow) -> dict[str, Any]:
    kind = next(one for one in scenario.sites if one.name == name)
    return {
        "name": name,
        "count": kind.count,
        "nodes": kind.nodes,
        "tasks_wanted": kind.holds,
        "tasks_per_day": round(flow.tasks / scenario.days),
        "work_bundle_tasks": round(flow.tasks / flow.work_bundles) if flow.work_bundles else 0,
        "work_bundle_tasks_max": flow.work_tasks_max,
        "idle": _idle(scenario, {name: flow}),
    }


def _idle(scenario: Scenario, flows: Mapping[str, Flow]) -> dict[str, Any]:
    """Return idle node-hours a day: all, those no bundle could avoid, those without any task."""
    slots = {one.name: one.slots for one in scenario.sites}
    parts = [(flow, slots[name] * 3600 * scenario.days) for name, flow in flows.items()]
    late = sum(flow.idle_late_s / of for flow, of in parts)
    empty = sum(flow.idle_empty_s / of for flow, of in parts)
    idle = sum(flow.idle_s / of for flow, of in parts)
    avoidable = max(0.0, idle - late - empty)
    of_all = sum(flow.slot_s / of for flow, of in parts)
    return {
        "node_hours_per_day": round(idle, 1),
        "before_a_bundle_could_come": round(late, 1),
        "nothing_submitted": round(empty, 1),
        "avoidable": round(avoidable, 1),
        "avoidable_share": round(avoidable / of_all, 5) if of_all else 0.0,
    }


def _sum(flows: list[Flow]) -> Flow:
    whole = Flow()
    for one in flows:
        for name in Flow.__slots__:
            join = max if name == "work_tasks_max" else float.__add__
            setattr(whole, name, join(getattr(whole, name) * 1.0, getattr(one, name) * 1.0))
    return whole


def words(told: Mapping[str, Any]) -> list[str]:
    """Return the lines for people."""
    bundles, idle = told["bundles_per_day"], told["idle"]
    return [
        f"{told['nodes']:,} nodes, {told['tasks_per_day']:,} tasks a day "
        f"(they could run {told['capacity_per_day']:,})",
        f"central: {told['central_cores'] or 'less than 0.0001'} of one core, "
        f"{_size(told['bytes_per_day'])} a day in "
        f"{bundles['work']:,.0f} work, {bundles['result']:,.0f} result and "
        f"{bundles['report']:,.0f} report bundles",
        f"idle: {idle['node_hours_per_day']:,.1f} node-hours a day; of these "
        f"{idle['before_a_bundle_could_come']:,.1f} before a bundle could come, "
        f"{idle['nothing_submitted']:,.1f} with nothing to do for anybody, "
        f"{idle['avoidable']:,.1f} avoidable ({idle['avoidable_share']:.2%} of all)",
    ]


def _size(amount: float) -> str:
    unit, width = ("GB", 1e9) if amount >= 1e9 else ("MB", 1e6)
    return f"{amount / width:,.1f} {unit}"


def table(told: Mapping[str, Any]) -> Table:
    """Return the table of sites for people."""
    head = (
        "sites",
        "count",
        "nodes each",
        "tasks_wanted",
        "tasks/bundle",
        "tasks/day",
        "avoidable h",
    )
    made = Table(*head, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for one in told["sites"]:
        made.add_row(
            one["name"],
            f"{one['count']:,}",
            f"{one['nodes']:,}",
            f"{one['tasks_wanted']:,}",
            f"{one['work_bundle_tasks']:,}",
            f"{one['tasks_per_day']:,}",
            f"{one['idle']['avoidable']:,.1f}",
        )
    return made
