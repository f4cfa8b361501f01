"""Datasets with steps per block of jobs grow, shrink and are fed, in a real central."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.dataset.spec import Dataset, Output
from bundle.errors import PulkError
from bundle.fates import Fate
from bundle.ids import DatasetId, Task
from central.core.facts import ControlWord
from tests.central.conftest import Central
from tests.central.scripted_site import Held, ScriptedSite
from tests.central.test_edit import rebuilt_alike
from tests.central.test_gathering import SIZE, gathered
from tests.central.test_life import resize


def kept(jobs: int) -> Dataset:
    """The dataset of `gathered`, whose outputs stay wherever they were made and come home."""
    made = gathered(jobs)
    steps = [
        replace(one, outputs=tuple(Output(its.name, keep=True) for its in one.outputs))
        for one in made.steps
    ]
    return replace(made, steps=tuple(steps))


def runs(central: Central, dataset: DatasetId, step: int, task: int) -> int:
    """How often a task succeeded."""
    story = central.authority.task(Task(dataset, task, step))
    return sum(one["fate"] == "success" for one in story["attempts"])


def ended(central: Central, site: ScriptedSite, dataset: DatasetId) -> list[dict[str, int]]:
    """What there is when the site has done all that it can."""
    for _ in range(10):
        site.work_all(central.authority)
    return central.counts(dataset)


def test_what_is_extended_runs_the_last_block_anew_and_no_other(
    central: Central, tmp_path: Path
) -> None:
    site = central.site()
    dataset = central.submit(kept(10))
    ended(central, site, dataset)
    would = resize(central, dataset, more=6, dry_run=True)
    made = resize(central, dataset, more=6)
    assert made == would
    assert (made.steps, made.tasks) == ((3,), 3)  # the block's two tasks, and the step over all
    assert central.counts(dataset)[1:] == [
        {"done": 2, "held": 2},
        {"done": 2, "held": 2},
        {"held": 1},
    ]
    central.fsck()
    assert ended(central, site, dataset) == [{"done": 16}, {"done": 4}, {"done": 4}, {"done": 1}]
    assert [runs(central, dataset, 0, job) for job in range(16)] == [1] * 16
    assert [runs(central, dataset, 1, block) for block in range(4)] == [1, 1, 2, 1]
    rebuilt_alike(central, tmp_path)


def test_a_truncation_drops_whole_blocks_and_cuts_one(central: Central, tmp_path: Path) -> None:
    site = central.site()
    dataset = central.submit(kept(15))
    ended(central, site, dataset)
    resize(central, dataset, jobs=6)
    assert central.counts(dataset) == [
        {"done": 6},
        {"done": 1, "ready": 1},
        {"done": 1, "held": 1},
        {"held": 1},
    ]
    with pytest.raises(PulkError):
        central.authority.task(Task(dataset, 2, 1))
    central.fsck()
    assert ended(central, site, dataset) == [{"done": 6}, {"done": 2}, {"done": 2}, {"done": 1}]
    resize(central, dataset, jobs=12)  # block 2 was whole when it was dropped
    assert central.counts(dataset)[1] == {"done": 2, "ready": 1}
    assert runs(central, dataset, 1, 2) == 1
    assert ended(central, site, dataset)[1] == {"done": 3}
    assert [runs(central, dataset, 1, block) for block in range(3)] == [1, 3, 1]
    rebuilt_alike(central, tmp_path)


def test_blocks_of_an_open_dataset_run_as_soon_as_they_are_whole(
    central: Central, tmp_path: Path
) -> None:
    site = central.site()
    dataset = central.submit(replace(kept(6), open=True))
    assert ended(central, site, dataset)[1:] == [
        {"done": 1, "held": 1},
        {"done": 1, "held": 1},
        {"held": 1},
    ]
    assert central.authority.why(Task(dataset, 1, 1))["reason"] == "open"
    resize(central, dataset, more=5)
    assert ended(central, site, dataset)[1] == {"done": 2, "held": 1}
    assert runs(central, dataset, 1, 1) == 1  # it did not run before it was whole
    resize(central, dataset, open=False)
    assert central.counts(dataset)[1] == {"done": 2, "ready": 1}
    assert ended(central, site, dataset) == [{"done": 11}, {"done": 3}, {"done": 3}, {"done": 1}]
    resize(central, dataset, open=True)  # what is there stays
    assert central.counts(dataset)[1] == {"done": 3}
    resize(central, dataset, more=1)
    assert ended(central, site, dataset)[1] == {"done": 3}
    assert runs(central, dataset, 1, 2) == 2
    rebuilt_alike(central, tmp_path)


def test_to_feed_an_open_dataset_resets_no_block(central: Central) -> None:
    site = central.site()
    steps = kept(6).steps[:3]  # nothing over all jobs, which another number makes stale
    dataset = central.submit(replace(kept(6), steps=steps, open=True))
    ended(central, site, dataset)
    for _ in range(3):
        assert resize(central, dataset, more=3).tasks == 0
        ended(central, site, dataset)
    row = central.authority._w.dataset(dataset)
    assert not central.authority._w.controls(row).is_partial
    resize(central, dataset, open=False)
    assert ended(central, site, dataset) == [{"done": 15}, {"done": 4}, {"done": 4}]
    assert [runs(central, dataset, 1, block) for block in range(4)] == [1] * 4


def test_a_result_of_the_shorter_block_never_counts_for_the_longer_one(
    central: Central, tmp_path: Path
) -> None:
    site = central.site()
    dataset = central.submit(kept(6))
    central.authority.absorb(site.report(1000))
    (held,) = [one for one in site.fetch(central.authority) if one.leases]
    resize(central, dataset, more=1)
    central.authority.absorb(site.result([site.play(held, one) for one in held.leases]))
    del site.works[held.id]
    assert central.counts(dataset)[1] == {"done": 1, "held": 1}
    assert ended(central, site, dataset) == [{"done": 7}, {"done": 2}, {"done": 2}, {"done": 1}]
    control(central, dataset, ControlWord.ADOPT)  # of what was reset the lineage still tells
    assert ended(central, site, dataset) == [{"done": 7}, {"done": 2}, {"done": 2}, {"done": 1}]
    assert runs(central, dataset, 1, 1) == 2
    rebuilt_alike(central, tmp_path)


def control(central: Central, dataset: DatasetId, word: ControlWord) -> None:
    key = f"{word} {random.random()}"
    central.authority.control(dataset, word, None, None, idempotency_key=key, token_id=1)


def test_a_dataset_whose_jobs_are_all_of_one_block_ends(central: Central) -> None:
    site = central.site()
    dataset = central.submit(kept(SIZE - 1))
    central.authority.absorb(site.report(2))
    for held in [one for one in site.fetch(central.authority) if one.leases]:
        central.authority.absorb(site.result([site.play(held, one) for one in held.leases]))
        del site.works[held.id]
    assert ended(central, site, dataset) == [{"done": 3}, {"done": 1}, {"done": 1}, {"done": 1}]


@pytest.mark.sweeps
@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_asked_for_while_results_come_late_it_all_ends(
    central: Central, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    site = central.site()
    dataset = central.submit(replace(kept(draw.randrange(1, 14)), open=draw.random() < 0.5))
    out: list[Held] = []
    for _ in range(12):
        match draw.randrange(7):
            case 0 | 1:
                resize(central, dataset, jobs=draw.randrange(1, 18))
            case 2:
                resize(central, dataset, open=draw.random() < 0.5)
            case 3:
                control(central, dataset, draw.choice([ControlWord.RESET, ControlWord.ADOPT]))
            case 4 | 5:
                central.authority.absorb(site.report(draw.randrange(1, 12)))
                out += [one for one in site.fetch(central.authority) if one.leases]
            case _ if out:
                held = out.pop(draw.randrange(len(out)))
                bad = (0, draw.randrange(20))

                def fate(place: tuple[int, int], _: int, bad: tuple[int, int] = bad) -> Fate:
                    return Fate.LOST if place == bad else Fate.SUCCESS

                played = [site.play(held, one, fate=fate) for one in held.leases]
                central.authority.absorb(site.result(played))
                del site.works[held.id]
    made = resize(central, dataset, open=False)
    for held in out:
        central.authority.absorb(site.result([site.play(held, one) for one in held.leases]))
        del site.works[held.id]
    central.clock.pass_hours(49)
    site.clock_us = central.clock.now_us
    blocks = -(-made.jobs // SIZE)
    every = [{"done": made.jobs}, {"done": blocks}, {"done": blocks}, {"done": 1}]
    assert ended(central, site, dataset) == every
    rebuilt_alike(central, tmp_path)
