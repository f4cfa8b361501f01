"""`pulk simulate`: what a production of some size will cost central and leave idle."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import click


@click.command("simulate")
@click.argument(
    "scenario", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--sites", type=click.IntRange(1, 10_000), default=1, help="Sites that are alike.")
@click.option(
    "--nodes",
    type=click.IntRange(1),
    default=100,
    help="Nodes of all sites together, shared evenly.",
)
@click.option("--slots", type=click.IntRange(1), default=1, help="Tasks at once on a node.")
@click.option("--trip-hours", type=click.FloatRange(0), default=0.02, help="One way of a bundle.")
@click.option(
    "--every-hours", type=click.FloatRange(0, min_open=True), default=0.1, help="A site looks."
)
@click.option("--away-days", type=click.FloatRange(0), default=0.0, help="Once, nothing passes.")
@click.option("--task-minutes", type=click.FloatRange(0, min_open=True), help="Of one task.")
@click.option("--tasks-per-day", type=click.FloatRange(0), help="Submitted; 0: enough for all.")
@click.option("--days", type=click.FloatRange(0, min_open=True), help="How long.")
@click.option(
    "--measured",
    type=click.IntRange(200, 100_000),
    default=10_000,
    show_default=True,
    help="Tasks of the larger bundle that is packed and merged to measure what one costs.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(
    scenario: Path | None,
    sites: int,
    nodes: int,
    slots: int,
    trip_hours: float,
    every_hours: float,
    away_days: float,
    task_minutes: float | None,
    tasks_per_day: float | None,
    days: float | None,
    measured: int,
    as_json: bool,
) -> int:
    """Say what SCENARIO (TOML), or what the options describe, costs central and leaves idle."""
    from rich.console import Console

    from central.simulation import told
    from central.simulation.costs import measure
    from central.simulation.flow import simulate
    from central.simulation.scenario import alike, load

    given = {"task_minutes": task_minutes, "tasks_per_day": tasks_per_day, "days": days}
    about = {name: value for name, value in given.items() if value is not None}
    if scenario is not None:
        wanted = load(scenario, about).sized()
    else:
        way = {"slots": slots, "trip_hours": trip_hours, "every_hours": every_hours}
        wanted = alike(sites, nodes, way | {"away_days": away_days}, about).sized()
    with tempfile.TemporaryDirectory(prefix="pulk-simulate-") as folder:
        costs = measure(Path(folder), (measured // 10, measured))
    found = told.document(wanted, costs, simulate(wanted, costs))
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    console = Console()
    for line in told.words(found):
        console.print(line, highlight=False)
    console.print(told.table(found))
    return 0
