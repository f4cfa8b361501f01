"""Steps per block of jobs, in a real central: planned, merged, reset, explained, made again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundle.dataset.spec import Command, Dataset, Input, Output, Per, Step
from bundle.fates import Fate
from bundle.ids import DatasetId, Task
from bundle.intervals import IntervalSet
from central.core.facts import ControlWord
from central.rebuild import rebuild
from central.state.judge import Judge
from tests.central.conftest import Central

RUN = Command(("/bin/true",))
JOBS, SIZE = 10, 4


def gathered(jobs: int = JOBS) -> Dataset:
    """make for each job, merge and check for each block of four, all over the blocks."""
    blocks = {"per": Per.BLOCK, "block_jobs": SIZE}
    steps = (
        Step("make", RUN, outputs=(Output("m"),), failures_max=1),
        Step(
            "merge", RUN, needs=(0,), inputs=(Input(0, 0, "m"),), outputs=(Output("g"),), **blocks
        ),
        Step(
            "check", RUN, needs=(1,), inputs=(Input(1, 0, "g"),), outputs=(Output("c"),), **blocks
        ),
        Step("all", RUN, Per.DATASET, (2,), (Input(2, 0, "c"),), outputs=(Output("a"),)),
    )
    return Dataset("gathered", jobs, 7, steps)


def control(
    central: Central, dataset: DatasetId, word: ControlWord, jobs: list[int], step: int
) -> None:
    key = f"{word} {jobs} {step}"
    chosen = IntervalSet.of(jobs)
    central.authority.control(dataset, word, chosen, (step,), idempotency_key=key, token_id=1)


DONE = [{"done": 10}, {"done": 3}, {"done": 3}, {"done": 1}]


@pytest.mark.parametrize("tasks_wanted", [1000, 5, 1])
def test_blocks_run_after_their_jobs_whatever_a_bundle_holds(
    central: Central, tasks_wanted: int
) -> None:
    site = central.site()
    dataset = central.submit(gathered())
    for _ in range(40):
        site.work_all(central.authority, tasks_wanted=tasks_wanted)
        if central.counts(dataset) == DONE:
            break
    assert central.counts(dataset) == DONE
    central.fsck()


def test_a_whole_dataset_goes_in_one_bundle_with_its_blocks(central: Central) -> None:
    site = central.site()
    central.submit(gathered())
    central.authority.absorb(site.report(1000))
    (held,) = [one for one in site.fetch(central.authority) if one.leases]
    assert sum(1 for lease in held.leases for _ in lease.tasks()) == 17


def test_a_reset_of_a_job_runs_its_block_again_and_no_other(
    central: Central, tmp_path: Path
) -> None:
    site = central.site()
    dataset = central.submit(gathered())
    site.work_all(central.authority)
    control(central, dataset, ControlWord.RESET, [5], 0)
    held = [{"ready": 1, "done": 9}, {"held": 1, "done": 2}, {"held": 1, "done": 2}, {"held": 1}]
    assert central.counts(dataset) == held
    site.work_all(central.authority, salt="again")
    assert central.counts(dataset) == DONE
    control(central, dataset, ControlWord.RESET, [9], 1)  # the block that holds job 9
    assert central.counts(dataset)[1] == {"ready": 1, "done": 2}
    site.work_all(central.authority, salt="once more")
    live = central.fsck()
    for seed in range(5):
        home = replace(central.home, root=tmp_path / f"fresh-{seed}")
        made = rebuild(home, central.home.archive, central.home.trust, shuffle=seed, repeat=2)
        assert made["ok"], made["problems"]
        assert made["state_hash"] == live["state_hash"]


def test_a_job_that_fails_holds_its_block_alone_and_why_names_it(central: Central) -> None:
    site = central.site()
    dataset = central.submit(gathered())
    central.authority.absorb(site.report(1000))
    (held,) = [one for one in site.fetch(central.authority) if one.leases]
    bad = {(0, 6): Fate.PAYLOAD_ERROR}
    played = [
        site.play(held, lease, fate=lambda place, _: bad.get(place, Fate.SUCCESS))
        for lease in held.leases
    ]
    central.authority.absorb(site.result(played))
    del site.works[held.id]
    counts = central.counts(dataset)
    assert counts[0] == {"failed": 1, "done": 9}
    assert counts[1]["done"] == 2
    central.clock.pass_hours(49)
    site.clock_us = central.clock.now_us
    site.work_all(central.authority)
    told = central.authority.why(Task(dataset, 1, 1))
    assert (told["verdict"], told["reason"]) == ("held", "parents")
    assert f"{dataset}/6/0" in str(told["because"])
    assert f"{dataset}/2/0" not in str(told["because"])
    central.fsck()


def test_what_was_suspended_while_its_jobs_ended_goes_on_afterwards(central: Central) -> None:
    site = central.site()
    dataset = central.submit(gathered())
    central.authority.absorb(site.report(10))
    (held,) = [one for one in site.fetch(central.authority) if one.leases]
    central.authority.control(
        dataset, ControlWord.SUSPEND, None, None, idempotency_key="s", token_id=1
    )
    central.authority.absorb(site.result([site.play(held, lease) for lease in held.leases]))
    del site.works[held.id]
    assert central.counts(dataset)[0] == {"done": 10}
    assert "ready" not in central.counts(dataset)[1]
    central.authority.control(
        dataset, ControlWord.RESUME, None, None, idempotency_key="r", token_id=1
    )
    assert central.counts(dataset)[1] == {"ready": 3}
    site.work_all(central.authority)
    assert central.counts(dataset) == DONE
    central.fsck()


def test_the_inputs_of_a_block_are_those_of_its_jobs(central: Central) -> None:
    site = central.site()
    dataset = central.submit(gathered())
    site.work_all(central.authority)
    about = central.authority.task(Task(dataset, 2, 1))
    names = [one["name"] for one in about["inputs"]]
    assert names == ["8/m", "9/m"]
    assert [one["name"] for one in central.authority.task(Task(dataset, 0, 3))["inputs"]] == [
        "0/c",
        "1/c",
        "2/c",
    ]


def test_a_hundred_million_jobs_in_blocks_cost_nothing_before_they_are_begun(
    central: Central,
) -> None:
    site = central.site()
    dataset = central.submit(replace(gathered(10**8), steps=big_blocks()))
    central.authority.absorb(site.report(20))
    (held,) = [one for one in site.fetch(central.authority) if one.leases]
    assert sum(1 for lease in held.leases for _ in lease.tasks()) == 20
    assert central.counts(dataset)[1:] == [{"held": 2000}, {"held": 2000}, {"held": 1}]


def big_blocks() -> tuple[Step, ...]:
    return tuple(
        replace(step, block_jobs=50_000) if step.per is Per.BLOCK else step
        for step in gathered().steps
    )


def test_a_step_that_needs_hundreds_is_judged_by_few_of_them(
    central: Central, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While they end one after the other, the one that is missing settles the matter."""
    many, looks = 300, 0
    done = Judge.done

    def counted(self: Judge, *which: Any, **how: Any) -> Any:
        nonlocal looks
        looks += 1
        return done(self, *which, **how)

    monkeypatch.setattr(Judge, "done", counted)
    roots = [Step(f"s{number}", RUN) for number in range(many)]
    last = Step("last", RUN, needs=tuple(range(many)))
    dataset = central.submit(Dataset("fan-in", 2, 7, (*roots, last)))
    central.site().work_all(central.authority)
    assert central.counts(dataset)[-1] == {"done": 2}
    assert looks < 30 * many, looks  # not many * many
    central.fsck()
