"""The planner: milliseconds of CPU a plan at 1,000 datasets, and shares after five half-lives.

Plans are made on a real central: 1,000 datasets of 100 users with documents of their own, leased
bundle after bundle to eight sites. Shares are those of `tests.planner.saturated`: the planner's
real order under saturated demand in virtual time.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.table import Row, below
from bundle.dataset import spec
from bundle.dataset.asks import Account, Requires
from bundle.dataset.spec import Command, Dataset, Input, Output, Request, Step
from bundle.ids import SiteName
from bundle.records.profile import Gpu, Profile
from central import home as homes
from central import planning
from central.authority import Authority
from central.config import Config
from central.home import Home, now_us
from central.pack import Offer
from central.visit import visit
from tests.planner.saturated import World, mixed, worst

DATASETS, USERS, GROUPS, SITES = 1000, 100, 5, 8
BUNDLES = 40
BUNDLE_TASKS = 2_000
RUN = Command(("/bin/true",))


def measure() -> list[Row]:
    """Return the rows."""
    plans, packs, first = _plans_ms()
    errors = _share_errors()
    plan_ms, high = statistics.median(plans), statistics.quantiles(plans, n=20)[-1]
    what = f"one bundle at {DATASETS:,} datasets of {USERS} users"
    return [
        below("planner", f"plan {what}, median", plan_ms, "ms CPU", 50.0),
        below("planner", f"plan {what}, p95", high, "ms CPU", 50.0),
        Row("planner", "the same and lease, pack, sign it", statistics.median(packs), "ms CPU"),
        Row("planner", "first plan after a start: every document is read", first, "ms CPU"),
        below("planner", "worst share of a group after five half-lives", errors[0], "%", 10.0),
        below("planner", "worst share of a user", errors[1], "%", 10.0),
        below("planner", "worst share of a dataset", errors[2], "%", 10.0),
    ]


def _plans_ms() -> tuple[list[float], list[float], float]:
    with tempfile.TemporaryDirectory(prefix="pulk-bench-") as name:
        home = Home(Path(name) / "central")
        homes.create(home)
        authority = Authority.open(home, Config(), clock_us=now_us)
        try:
            for number in range(DATASETS):
                raw = spec.encode(_document(number))
                authority.submit(raw, idempotency_key=os.urandom(8).hex(), token_id=1)
            return _bundles_ms(authority)
        finally:
            authority.close()


def _bundles_ms(authority: Authority) -> tuple[list[float], list[float], float]:
    packer, workings = authority._packer, authority._w
    plans: list[float] = []
    packs: list[float] = []
    first = 0.0
    for number in range(BUNDLES):
        site = SiteName(f"site{number % SITES}")
        profile = _profile(number % SITES)
        began = time.process_time()
        found = visit(workings, packer.board, site, BUNDLE_TASKS)
        found = replace(found, profile=profile)
        planned, _ = planning.plan(workings, BUNDLE_TASKS, board=packer.board, visit=found)
        took = (time.process_time() - began) * 1e3
        assert sum(one.tasks() for one in planned) > 0
        began = time.process_time()
        packer.write(site, Offer(profile, planned, lost=[], is_news=False))
        packs.append(took + (time.process_time() - began) * 1e3)
        if number >= SITES:
            plans.append(took)
        first = first or took
    return plans, packs[SITES:], first


def _document(number: int) -> Dataset:
    """Return a dataset of one to three steps, some of which need a GPU or software."""
    chance = random.Random(number)
    steps = [
        Step(
            "make",
            RUN,
            outputs=(Output("made"),),
            request=Request(memory_mib=chance.choice([512, 2048, 8192])),
            requires=Requires(software=("icetray/1.8",) if number % 5 == 0 else ()),
        )
    ]
    for at in range(1, 1 + number % 3):
        gpu = 1000 if at == 2 else 0
        steps.append(
            Step(
                f"use{at}",
                RUN,
                needs=(at - 1,),
                inputs=(Input(at - 1, 0, "read"),),
                outputs=(Output("made"),),
                request=Request(gpu_milli=gpu, walltime_ms=chance.choice([600_000, 7_200_000])),
            )
        )
    user = number % USERS
    account = Account(f"user{user}", f"group{user % GROUPS}", chance.choice([0, 0, 10]))
    jobs = chance.choice([1_000, 20_000, 1_000_000])
    return Dataset(f"set{number}", jobs, number, tuple(steps), account=account)


def _profile(number: int) -> Profile:
    gpus = (Gpu("A100", 40_960, 4),) if number % 2 else ()
    software = ("icetray/1.8.2",) if number % 3 else ()
    return Profile(8, 64_000, 128_000, 1 << 40, gpus, 48 * 3_600_000, software=software)


def _share_errors() -> list[float]:
    weights, clients = mixed(DATASETS, USERS, GROUPS, seed=1)
    world = World(weights, clients, sites=50, cores=2000)
    world.run(5 * 24 + 5)
    assert all(one.first_us for one in clients), "a dataset was never served"
    return [100 * worst(world, depth) for depth in (1, 2, 3)]
