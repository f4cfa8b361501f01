"""`pulk simulate`: a measured central, tasks that flow in virtual time, an answer for a person."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Step
from central import home as homes
from central.authority import Authority
from central.cli.simulate import command
from central.config import Config, PlannerSection
from central.home import Home
from central.simulation import told
from central.simulation.costs import Costs, Line, measure
from central.simulation.echo import Echo
from central.simulation.flow import Flow, simulate
from central.simulation.scenario import DAY_S, Scenario, ScenarioRefused, SiteKind, alike, load
from tests.conftest import REPOSITORY

COSTS = Costs(Line(0.01, 2e-5), Line(0.02, 5e-5), 0.001, Line(3000, 2), Line(4000, 15), 1500)
TARGET = Scenario(
    (
        SiteKind("near", 40, 2000, trip_s=60, every_s=300),
        SiteKind("stick", 8, 2000, trip_s=2 * DAY_S, every_s=DAY_S),
        SiteKind("ship", 2, 2000, trip_s=DAY_S, every_s=DAY_S, away_s=21 * DAY_S),
    ),
    days=60,
    task_s=864,
    datasets=500,
)


def whole(flows: dict[str, Flow]) -> tuple[float, float, float]:
    """Tasks, idle seconds that could have been avoided, and CPU seconds of all sites."""
    return (
        sum(one.tasks for one in flows.values()),
        sum(one.idle_s - one.idle_late_s - one.idle_empty_s for one in flows.values()),
        sum(one.cpu_s for one in flows.values()),
    )


def test_a_hundred_thousand_nodes_run_ten_million_tasks_a_day_with_weeks_of_silence() -> None:
    _, avoidable_s, cpu_s = whole(simulate(TARGET.sized(), COSTS))
    assert TARGET.nodes == 100_000
    assert TARGET.capacity_per_day() == pytest.approx(10_000_000)
    assert avoidable_s == pytest.approx(0, abs=1)
    assert cpu_s < TARGET.days * DAY_S


def test_a_site_that_holds_too_little_idles_and_is_told_so() -> None:
    kind = SiteKind("stick", 1, 100, trip_s=DAY_S, every_s=DAY_S, holds=500)
    flows = simulate(Scenario((kind,), task_s=3600).sized(), COSTS)
    about = told.document(Scenario((kind,), task_s=3600), COSTS, flows)
    assert about["idle"]["avoidable_share"] > 0.5


def test_what_nobody_submitted_is_no_fault_of_planning() -> None:
    kind = SiteKind("near", 1, 100)
    scenario = Scenario((kind,), days=10, task_s=3600, tasks_per_day=1000).sized()
    (flow,) = simulate(scenario, COSTS).values()
    assert flow.tasks == pytest.approx(10_000, rel=0.05)
    assert flow.idle_empty_s > 0.4 * flow.slot_s


@given(sites=st.integers(1, 60), more=st.integers(0, 1000))
def test_sites_share_all_nodes_and_none_is_lost_by_rounding(sites: int, more: int) -> None:
    made = alike(sites, sites + more, {}, {})
    assert made.nodes == sites + more
    assert sum(one.count for one in made.sites) == sites
    assert len({one.nodes for one in made.sites}) == 1 + bool(made.nodes % sites)


def test_fewer_nodes_than_sites_and_times_that_are_no_times_are_refused() -> None:
    with pytest.raises(ScenarioRefused, match="nodes"):
        alike(10, 5, {}, {})
    for days in (float("nan"), float("inf"), 0.0):
        with pytest.raises(ScenarioRefused, match="days"):
            alike(1, 1, {}, {"days": days})


def test_idle_node_hours_are_those_of_each_kind_of_node() -> None:
    """A node is a node, however many slots it has."""
    kinds = (SiteKind("thin", 1, 10, slots=1), SiteKind("thick", 1, 10, slots=64))
    scenario = Scenario(kinds, days=1, task_s=3600)
    flows = {
        "thin": Flow(idle_s=10 * 3600.0, slot_s=240 * 3600.0),
        "thick": Flow(idle_s=640 * 3600.0, slot_s=15360 * 3600.0),
    }
    about = told.document(scenario, COSTS, flows)
    assert [one["idle"]["node_hours_per_day"] for one in about["sites"]] == [10.0, 10.0]
    assert about["idle"]["node_hours_per_day"] == 20.0


@settings(max_examples=60, deadline=None)
@given(
    nodes=st.integers(1, 500),
    trip_s=st.floats(0, 3 * DAY_S),
    every_s=st.floats(60, 2 * DAY_S),
    task_s=st.floats(60, DAY_S),
    away_s=st.floats(0, 10 * DAY_S),
)
def test_slots_work_or_idle_and_sized_sites_idle_only_while_nothing_can_come(
    nodes: int, trip_s: float, every_s: float, task_s: float, away_s: float
) -> None:
    kind = SiteKind("site", 1, nodes, trip_s=trip_s, every_s=every_s, away_s=away_s)
    scenario = Scenario((kind,), days=40, task_s=task_s).sized()
    (flow,) = simulate(scenario, COSTS).values()
    worked_s = flow.slot_s - flow.idle_s
    assert flow.slot_s == pytest.approx(nodes * 40 * DAY_S)
    assert flow.tasks * task_s <= worked_s + nodes * task_s
    assert flow.idle_s - flow.idle_late_s <= 0.001 * flow.slot_s


def test_bundles_cost_a_real_central_something(tmp_path: Path) -> None:
    costs = measure(tmp_path, (50, 500))
    assert costs.pack_s.at(500) > 0
    assert costs.merge_s.at(500) > 0
    assert costs.result_bytes.at(500) > costs.result_bytes.at(50) > 1000


def test_the_command_answers_programs_and_people() -> None:
    options = ["--sites", "2", "--nodes", "20", "--days", "5", "--measured", "200"]
    answered = CliRunner().invoke(command, [*options, "--json"])
    about = json.loads(answered.output)
    assert about["nodes"] == 20
    assert about["central_cores"] < 1
    assert "20 nodes" in CliRunner().invoke(command, options).output


def test_the_example_in_the_page_is_one(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "simulate.md").read_text()
    path = tmp_path / "scenario.toml"
    path.write_text(page.split("```toml\n")[1].split("```")[0])
    assert load(path).nodes > 0


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text('[[site]]\nname = "a"\ncuont = 3\n')
    with pytest.raises(ScenarioRefused) as refused:
        load(path)
    assert "site.0.cuont" in refused.value.text()


def test_a_site_that_wants_many_bundles_full_gets_the_second(tmp_path: Path) -> None:
    """What `pulk simulate` takes for granted of central, and weeks without a visit need."""
    home = Home(tmp_path / "central")
    homes.create(home)
    planner = PlannerSection(bundle_tasks_max=10)
    authority = Authority.open(home, Config(planner=planner), clock_us=homes.now_us)
    raw = spec.encode(Dataset("many", 1000, 1, (Step("run", Command(("/bin/true",))),)))
    authority.submit(raw, idempotency_key="many", token_id=1)
    site = Echo("ship", tmp_path / "ship", authority)
    authority.absorb(site.report(100))
    leases = [authority.outbox(site.name) for _ in range(4)]
    authority.close()
    assert len(leases[-1]) >= 4
