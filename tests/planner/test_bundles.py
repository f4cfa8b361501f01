"""Bundles that a real central packs for real sites: shares, quotas, steps, inputs, lease times."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle.dataset.asks import Account, Requires
from bundle.dataset.spec import Command, Dataset, Input, Output, Request, Step
from bundle.fates import Fate
from bundle.ids import DatasetId
from bundle.intervals import IntervalSet
from bundle.records.profile import Gpu, Profile
from central import planning
from central.board import Board
from central.config import (
    Config,
    PlannerSection,
    QuotaSection,
    QuotasSection,
    SharesSection,
)
from central.lately import Lately
from central.visit import Visit
from tests.central.conftest import Central, chain
from tests.central.scripted_site import Held, ScriptedSite, by_needs

RUN = Command(("/bin/true",))
HOUR_MS = 3_600_000


def one(name: str, jobs: int = 1000, *, request: Request | None = None, **account: Any) -> Dataset:
    step = Step("make", RUN, outputs=(Output("made"),), request=request or Request())
    return Dataset(name, jobs, 7, (step,), account=Account(**account))


def configure(central: Central, **sections: Any) -> None:
    central.config = Config(**sections)
    central.reopen()


def tell(central: Central, at: ScriptedSite, wanted: int, **said: Any) -> None:
    assert central.authority.absorb(at.report(wanted, **said)).outcome == "merged"


def get(central: Central, at: ScriptedSite) -> list[Held]:
    return [held for held in at.fetch(central.authority) if held.leases]


def bring(central: Central, at: ScriptedSite, held: Held, **how: Any) -> None:
    played = [at.play(held, lease, **how) for lease in by_needs(held.leases)]
    assert central.authority.absorb(at.result(played)).outcome == "merged"
    del at.works[held.id]


def taken(held: list[Held]) -> dict[str, int]:
    found: dict[str, int] = {}
    for lease in (lease for one in held for lease in one.leases):
        found[lease.dataset] = found.get(lease.dataset, 0) + lease.count()
    return found


def test_hours_are_shared_by_group_and_user_bundle_after_bundle(central: Central) -> None:
    shares = SharesSection(groups={"nu": 3.0}, users={"alice": 2.0})
    configure(central, shares=shares, planner=PlannerSection(shard_tasks_max=5))
    site = central.site()
    nu = central.submit(one("nu", jobs=5000, user="ann", group="nu"))
    alice = central.submit(one("alice", user="alice", group="cr"))
    bob = central.submit(one("bob", user="bob", group="cr"))
    for _ in range(10):
        tell(central, site, 80)
        for held in get(central, site):
            bring(central, site, held)
    done = {one: central.counts(one)[0]["done"] for one in (nu, alice, bob)}
    total = sum(done.values())
    assert total == 10 * 80
    for dataset, share in ((nu, 3 / 4), (alice, 1 / 4 * 2 / 3), (bob, 1 / 4 * 1 / 3)):
        assert abs(done[dataset] / total / share - 1) < 0.1, done
    central.fsck()


def test_after_a_restart_it_is_known_who_was_served(central: Central) -> None:
    site = central.site()
    served = central.submit(one("served", user="alice"))
    tell(central, site, 200)
    for held in get(central, site):
        bring(central, site, held)
    tell(central, site, 200)
    waiting = central.submit(one("waiting", user="bob"))
    central.reopen()
    assert taken(get(central, site)) == {waiting: 200}
    board = central.authority._packer.board
    days = board.lately.delivered_in_period("user:alice", central.clock.now_us)
    assert days == 200 * 1000  # core-milliseconds: each ran for a second on one core
    assert central.counts(served)[0]["done"] == 200


def test_what_is_remembered_survives_its_way_into_the_database(central: Central) -> None:
    site = central.site()
    central.submit(one("some", user="alice", group="g"))
    for _ in range(6):
        tell(central, site, 50)
        for held in get(central, site):
            bring(central, site, held)
        central.clock.pass_hours(1)
    workings = central.authority._w
    lately = central.authority._packer.board.lately
    with workings.transaction():
        lately.save(central.clock.now_us + 10**9)
    again = Lately(workings)
    assert again._plain() == lately._plain()
    assert len(again.seen(site.name).trips) >= 5


@pytest.mark.sweeps
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_plan_exceeds_a_quota_a_cap_or_what_the_site_takes(
    tmp_path_factory: Any, data: st.DataObject
) -> None:
    central = Central(tmp_path_factory.mktemp("quota"))
    limits = st.integers(0, 30)
    user, group = (QuotaSection(tasks_out=data.draw(limits)) for _ in range(2))
    tasks_max, node_hours = data.draw(limits), data.draw(limits)
    configure(
        central,
        quotas=QuotasSection(user=user, group=group),
        planner=PlannerSection(shard_tasks_max=data.draw(st.integers(1, 20))),
    )
    profile = Profile(cpu_milli=2000, tasks_max=tasks_max, node_hours_max_milli=1000 * node_hours)
    sets = [
        central.submit(replace(chain(jobs=data.draw(st.integers(1, 9))), account=Account(who, of)))
        for who, of in (("alice", "g"), ("bob", "g"), ("alice", "h"))
    ]
    sites = [central.site("north"), central.site("south")]
    fates = st.sampled_from([Fate.SUCCESS, Fate.SUCCESS, Fate.ALLOCATION_END, Fate.LOST])
    for _ in range(4):
        for site in sites:
            tell(central, site, data.draw(st.integers(0, 40)), site=profile)
            held = get(central, site)
            check_limits(central, sets, user.tasks_out, group.tasks_out)
            at_site = sum(
                row["tasks_leased"] for row in central.authority.sites() if row["site"] == site.name
            )
            assert not tasks_max or at_site <= tasks_max
            assert not node_hours or at_site <= node_hours * 2  # of an hour, two cores a node
            fate = data.draw(fates)
            for one_held in held:
                bring(central, site, one_held, fate=lambda _p, _n, fate=fate: fate)
    central.fsck()
    central.authority.close()


def check_limits(central: Central, sets: list[DatasetId], user: int, group: int) -> None:
    out = [sum(step.get("leased", 0) for step in central.counts(one)) for one in sets]
    assert not user or max(out[0] + out[2], out[1]) <= user
    assert not group or max(out[0] + out[1], out[2]) <= group


def test_equal_facts_give_equal_plans(central: Central) -> None:
    for number in range(7):
        central.submit(one(f"set{number}", jobs=40 + number, user=f"user{number % 3}"))
    workings = central.authority._w
    plans = []
    for _ in range(2):
        visit = Visit(tasks=500, lease_ms=HOUR_MS)
        found, _ = planning.plan(workings, 500, board=Board(workings), visit=visit)
        plans.append([(one.dataset.no, one.shards, one.durations) for one in found])
    assert plans[0] == plans[1]
    assert len(plans[0]) == 7


def mixed(jobs: int = 4) -> Dataset:
    """A step for any node, and one for a GPU that reads what the first made."""
    first = Step("make", RUN, outputs=(Output("made"),))
    asked = Requires(gpu_model="A100")
    second = Step(
        "train", RUN, needs=(0,), inputs=(Input(0, 0, "made"),), outputs=(Output("net"),),
        request=Request(gpu_milli=1000), requires=asked,
    )  # fmt: skip
    return Dataset("mixed", jobs, 7, (first, second))


def test_steps_go_where_they_can_run_and_their_inputs_follow(central: Central) -> None:
    dataset = central.submit(mixed())
    plain, gpu = central.site("plain"), central.site("gpu")
    tell(central, plain, 100, site=Profile(gpus=()))
    (held,) = get(central, plain)
    assert {step for lease in held.leases for block in lease.blocks for step in block.steps} == {0}
    bring(central, plain, held)
    assert central.counts(dataset) == [{"done": 4}, {"ready": 4}]
    tell(central, plain, 100, site=Profile(gpus=()))
    assert not get(central, plain)
    tell(central, gpu, 100, site=Profile(gpus=(Gpu("A100", 0, 1),)))
    for held in get(central, gpu):
        bring(central, gpu, held)
    assert central.counts(dataset) == [{"done": 4}, {"done": 4}]
    central.fsck()


def test_where_all_steps_can_run_whole_jobs_go_together(central: Central) -> None:
    central.submit(mixed())
    gpu = central.site("gpu")
    tell(central, gpu, 100, site=Profile(gpus=(Gpu("A100", 0, 1),)))
    (held,) = get(central, gpu)
    assert {block.steps for lease in held.leases for block in lease.blocks} == {(0, 1)}


def test_jobs_whose_inputs_lie_at_a_site_go_there_first(central: Central) -> None:
    dataset = central.submit(mixed(jobs=6))
    plain, gpu = central.site("plain"), central.site("gpu")
    tell(central, plain, 100, site=Profile(gpus=()))
    (held,) = get(central, plain)
    played = [plain.play(held, lease) for lease in held.leases]
    assert central.authority.absorb(plain.result(played)).outcome == "merged"
    near = {
        hashlib.sha256(content).digest()
        for one in played
        for content in one.files.values()
        for attempt in one.segment.attempts
        if attempt.job in (3, 5)
        for file, _ in attempt.outputs
        if file == hashlib.sha256(content).digest()
    }
    assert len(near) == 2
    profile = Profile(gpus=(Gpu("A100", 0, 1),))
    tell(central, gpu, 2, site=profile, has=tuple(sorted(near)))
    (held,) = get(central, gpu)
    jobs = IntervalSet.of(job for one in held.leases for block in one.blocks for job in block.jobs)
    assert list(jobs) == [3, 5]
    assert central.counts(dataset)[1] == {"ready": 4, "leased": 2}


def test_what_did_not_fit_beside_others_goes_next_and_a_new_profile_is_looked_at_anew(
    central: Central,
) -> None:
    sets = [central.submit(one(f"set{n}", jobs=4, user=f"user{n}")) for n in range(3)]
    workings, board = central.authority._w, Board(central.authority._w)
    few = [planning.plan(workings, 100, 4, board=board)[0] for _ in range(2)]  # two chunks each
    assert [[one.dataset.no for one in plan] for plan in few] == [[1, 2], [1, 2]]
    assert not any(line.barren for line in board)
    assert len(planning.plan(workings, 100, board=board)[0]) == 3

    site = central.site()
    tell(central, site, 100, site=Profile(memory_mib=1))
    assert not get(central, site)
    tell(central, site, 100, site=Profile(memory_mib=1024))
    assert taken(get(central, site)) == dict.fromkeys(sets, 4)


def test_leases_last_as_long_as_what_was_seen_of_the_site_says(central: Central) -> None:
    site = central.site()
    request = Request(walltime_ms=60_000)
    central.submit(one("long", jobs=10_000, request=request))
    durations = []
    for _ in range(8):
        tell(central, site, 50)
        for held in get(central, site):
            durations.append({lease.duration_ms for lease in held.leases})
            central.clock.pass_hours(10)  # until its word that the bundle came is here
            tell(central, site, 50)
            central.authority.outbox(site.name)
            central.clock.pass_hours(20)
            bring(central, site, held)
    assert durations[0] == {48 * HOUR_MS}  # as configured, while nothing is known
    learned = durations[-1].pop()
    assert 50 * HOUR_MS < learned < 60 * HOUR_MS  # one and a half turnarounds, and a trip


def test_a_site_holds_what_keeps_it_busy_and_fillers_that_return(tmp_path: Path) -> None:
    central = Central(tmp_path, shard_tasks_max=1, filler=0.5, lease_hours=30.0)
    site = central.site()
    dataset = central.submit(one("short", jobs=100_000, request=Request(walltime_ms=900_000)))
    profile = Profile(nodes=2, cpu_milli=4000, trip_ms=0)
    tell(central, site, 20, site=profile)
    (first,) = get(central, site)  # nothing was seen of such tasks: as many as it wants
    assert taken([first]) == {dataset: 20}
    slow = replace(_usage(), wall_ms=1_800_000)
    bring_with(central, site, first, slow)
    tell(central, site, 1000, site=profile)
    (second,) = get(central, site)
    # Eight cores for an hour at half an hour a task are 16 tasks, and half as many fill up.
    assert taken([second]) == {dataset: 24}
    long = [lease for lease in second.leases if lease.duration_ms == 30 * HOUR_MS]
    assert len(long) == 16
    assert {lease.duration_ms for lease in second.leases if lease not in long} == {HOUR_MS}
    tell(central, site, 1000, site=profile)
    assert not get(central, site)  # it has enough
    central.clock.pass_hours(2)
    tell(central, site, 1000, site=profile)
    (third,) = get(central, site)  # the fillers ended untouched, and go out again
    assert taken([third]) == {dataset: 8}
    central.authority.close()


def _usage() -> Any:
    from tests.central.scripted_site import USAGE

    return USAGE


def bring_with(central: Central, site: ScriptedSite, held: Held, usage: Any) -> None:
    played = []
    for lease in held.leases:
        made = site.play(held, lease)
        attempts = tuple(replace(one, usage=usage) for one in made.segment.attempts)
        played.append(replace(made, segment=replace(made.segment, attempts=attempts)))
    assert central.authority.absorb(site.result(played)).outcome == "merged"
    del site.works[held.id]


def test_a_deadline_pulls_a_dataset_before_its_users_others(central: Central) -> None:
    now_us = central.clock.now_us
    central.submit(one("calm", user="alice"))
    due = central.submit(one("due", user="alice", deadline_us=now_us + HOUR_MS * 1000))
    site = central.site()
    for _ in range(4):
        tell(central, site, 200)
        for held in get(central, site):
            bring(central, site, held)
    assert central.counts(due)[0]["done"] >= 500  # of 800: three to four times its usual share
