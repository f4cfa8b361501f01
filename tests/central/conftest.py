"""A real central in a folder of its own, with a clock that the test moves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Input, Output, Per, Step
from bundle.ids import DatasetId
from central import home as homes
from central.authority import Authority
from central.config import Config, PlannerSection
from central.home import Home
from tests.central.scripted_site import ScriptedSite


class Clock:
    """UTC microseconds that move only when told to."""

    def __init__(self) -> None:
        self.now_us = 1_700_000_000_000_000

    def __call__(self) -> int:
        self.now_us += 1
        return self.now_us

    def pass_hours(self, hours: float) -> None:
        self.now_us += int(hours * 3_600_000_000)


class Central:
    """A central, its sites, and the few steps that every test takes."""

    def __init__(self, folder: Path, **planner: object) -> None:
        self.folder = folder
        self.clock = Clock()
        self.home = Home(folder / "central")
        homes.create(self.home)
        self.config = Config(planner=PlannerSection(**planner))  # type: ignore[arg-type]
        self.authority = Authority.open(self.home, self.config, clock_us=self.clock)

    def site(self, name: str = "north") -> ScriptedSite:
        return ScriptedSite(name, self.folder / name, self.authority)

    def submit(self, dataset: Dataset) -> DatasetId:
        key = os.urandom(8).hex()
        return self.authority.submit(spec.encode(dataset), idempotency_key=key, token_id=1).id

    def counts(self, dataset: DatasetId) -> list[dict[str, int]]:
        return [step["counts"] for step in self.authority.counts(dataset)["steps"]]

    def reopen(self) -> None:
        """What a crash and a new start leave."""
        self.authority.close()
        self.authority = Authority.open(self.home, self.config, clock_us=self.clock)

    def fsck(self) -> dict[str, object]:
        from central.fsck import fsck

        found = fsck(self.home)
        assert found["ok"], found["problems"]
        return found


@pytest.fixture
def central(tmp_path: Path) -> Iterator[Central]:
    made = Central(tmp_path)
    yield made
    made.authority.close()


def chain(jobs: int = 4, *, fan_in: bool = True, failures_max: int = 2) -> Dataset:
    """generate -> weight for each job, and one fan-in over all jobs."""
    run = Command(("/bin/true",))
    steps = [
        Step("generate", run, outputs=(Output("g"),), failures_max=failures_max),
        Step(
            "weight",
            run,
            needs=(0,),
            inputs=(Input(0, 0, "g"),),
            outputs=(Output("w"),),
            failures_max=failures_max,
        ),
    ]
    if fan_in:
        steps.append(
            Step(
                "spectrum",
                run,
                per=Per.DATASET,
                needs=(1,),
                inputs=(Input(1, 0, "w"),),
                outputs=(Output("s"),),
            )
        )
    return Dataset(name="chain", jobs=jobs, seed=7, steps=tuple(steps))
