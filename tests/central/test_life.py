"""The life of a dataset: it starts suspended, grows, shrinks, is fed, and runs again in parts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Step
from bundle.fates import Fate
from bundle.ids import DatasetId, Task
from bundle.intervals import IntervalSet
from central import selecting
from central.core import state_byte
from central.core.changes import UsageSum
from central.core.edit import Size
from central.core.facts import ControlWord, Verdict
from central.core.selection import Only
from central.core.state_byte import BLOCK_BITS, BLOCK_JOBS
from central.editing import Edited
from central.errors import BadControl, IdempotencyConflict, SelectionTooLarge, UnknownTask
from central.state.blocks import packed_block
from central.store.rows import BlockRow, StepRow
from tests.central.conftest import Central, chain
from tests.central.test_bytes_and_rows import SHAPES
from tests.central.test_edit import bring, control, leased, rebuilt_alike

ALL_JOBS = None


def resize(
    central: Central,
    dataset: DatasetId,
    *,
    jobs: int | None = None,
    more: int | None = None,
    open: bool | None = None,
    key: str = "",
    dry_run: bool = False,
) -> Edited:
    key = key or os.urandom(8).hex()
    size = Size(jobs, more, open)
    return central.authority.resize(dataset, size, idempotency_key=key, token_id=1, dry_run=dry_run)


def reset(central: Central, dataset: DatasetId, only: Only, **where: Any) -> int:
    return central.authority.control(
        dataset,
        ControlWord.RESET,
        where.get("jobs"),
        where.get("steps"),
        idempotency_key=os.urandom(8).hex(),
        token_id=1,
        only=only,
    )


def fails(*places: tuple[int, int], how: Fate = Fate.PAYLOAD_ERROR) -> dict[str, Any]:
    """How a site is to play: these (step, job) end so, all else succeeds."""
    return {"fate": lambda place, _: how if place in places else Fate.SUCCESS}


# -- size --------------------------------------------------------------------------------


def test_what_is_extended_runs_and_the_fan_in_runs_anew(central: Central, tmp_path: Path) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=3))
    site.work_all(central.authority)
    assert central.counts(dataset) == [{"done": 3}, {"done": 3}, {"done": 1}]
    made = resize(central, dataset, more=2)
    assert (made.jobs, made.steps, made.tasks, made.begun_beyond) == (5, (2,), 1, 0)
    assert central.authority.dataset(dataset)["jobs"] == 5
    assert central.counts(dataset) == [
        {"done": 3, "ready": 2},
        {"done": 3, "held": 2},
        {"held": 1},
    ]
    central.fsck()
    site.work_all(central.authority)
    assert central.counts(dataset) == [{"done": 5}, {"done": 5}, {"done": 1}]
    story = central.authority.task(Task(dataset, 0, 2))
    first, last = (one["generation"] for one in story["attempts"])
    assert first == 0 < last
    rebuilt_alike(central, tmp_path)


def test_a_truncated_dataset_ends_with_the_jobs_that_are_left(
    central: Central, tmp_path: Path
) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=6))
    bring(central, site, leased(central, site, 6), **fails((0, 5)))
    before = central.counts(dataset)
    assert before[0]["done"] >= 1
    made = resize(central, dataset, jobs=2)
    assert made.jobs == 2
    assert sum(central.counts(dataset)[0].values()) == 2
    central.fsck()
    central.clock.pass_hours(24)
    site.work_all(central.authority)
    assert central.counts(dataset) == [{"done": 2}, {"done": 2}, {"done": 1}]
    with pytest.raises(UnknownTask):
        central.authority.task(Task(dataset, 5, 0))
    with pytest.raises(BadControl):
        control(central, dataset, ControlWord.RESET, IntervalSet.of([5]))
    rebuilt_alike(central, tmp_path)


def test_what_was_done_beyond_a_truncation_is_done_again_when_it_is_extended(
    central: Central, tmp_path: Path
) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=4))
    site.work_all(central.authority)
    assert resize(central, dataset, jobs=2).begun_beyond == 2
    assert central.counts(dataset) == [{"done": 2}, {"done": 2}, {"ready": 1}]
    site.work_all(central.authority, salt="of two")
    assert central.counts(dataset) == [{"done": 2}, {"done": 2}, {"done": 1}]
    resize(central, dataset, jobs=5)
    assert central.counts(dataset) == [
        {"done": 4, "ready": 1},
        {"done": 4, "held": 1},
        {"held": 1},
    ]
    site.work_all(central.authority)
    assert central.counts(dataset) == [{"done": 5}, {"done": 5}, {"done": 1}]
    rebuilt_alike(central, tmp_path)


def test_jobs_that_are_added_after_what_all_jobs_need_was_done_are_run(
    central: Central, tmp_path: Path
) -> None:
    site = central.site()
    dataset = central.submit(Dataset("prepared", 3, 1, SHAPES["setup"]))
    site.work_all(central.authority)
    resize(central, dataset, more=2)
    assert central.counts(dataset) == [
        {"done": 1},
        {"done": 3, "ready": 2},
        {"done": 3, "held": 2},
    ]
    central.fsck()
    site.work_all(central.authority)
    assert central.counts(dataset) == [{"done": 1}, {"done": 5}, {"done": 5}]
    rebuilt_alike(central, tmp_path)


def test_what_dropped_jobs_made_of_a_step_that_was_reset_meanwhile_counts_no_more(
    central: Central, tmp_path: Path
) -> None:
    site = central.site()
    dataset = central.submit(Dataset("prepared", 3, 1, SHAPES["setup"]))
    site.work_all(central.authority)
    resize(central, dataset, jobs=1)
    control(central, dataset, ControlWord.RESET, steps=(0,))
    site.work_all(central.authority, salt="anew")
    resize(central, dataset, jobs=3)
    assert central.counts(dataset) == [
        {"done": 1},
        {"done": 1, "ready": 2},
        {"done": 1, "held": 2},
    ]
    central.fsck()
    site.work_all(central.authority, salt="anew")
    assert central.counts(dataset) == [{"done": 1}, {"done": 3}, {"done": 3}]
    rebuilt_alike(central, tmp_path)


def test_results_of_jobs_that_were_dropped_meanwhile_are_kept_for_later(
    central: Central, tmp_path: Path
) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=4, fan_in=False))
    held = leased(central, site)
    resize(central, dataset, jobs=1)
    assert central.counts(dataset) == [{"leased": 1}, {"leased": 1}]
    bring(central, site, held)
    assert central.counts(dataset) == [{"done": 1}, {"done": 1}]
    assert leased(central, site) == []
    central.fsck()
    resize(central, dataset, jobs=4)
    assert central.counts(dataset) == [{"done": 4}, {"done": 4}]
    rebuilt_alike(central, tmp_path)


def test_a_size_costs_the_same_for_any_number_of_jobs(central: Central) -> None:
    dataset = central.submit(chain(jobs=10))
    assert resize(central, dataset, jobs=10**9).jobs == 10**9
    assert central.authority.counts(dataset)["tasks"] == 2 * 10**9 + 1
    row = central.authority._w.dataset(dataset)
    assert len(row.touched) == 0
    assert resize(central, dataset, jobs=3).begun_beyond == 0
    assert central.counts(dataset)[0] == {"ready": 3}


def test_a_size_that_is_asked_for_again_is_given_once(central: Central) -> None:
    dataset = central.submit(chain(jobs=2))
    first = resize(central, dataset, more=3, key="k")
    head = central.authority.health()["commit"]
    central.reopen()
    assert resize(central, dataset, more=3, key="k") == first
    assert central.authority.health()["commit"] == head
    assert central.authority.dataset(dataset)["jobs"] == 5
    with pytest.raises(IdempotencyConflict):
        resize(central, dataset, more=4, key="k")


def test_a_dry_run_of_a_size_says_what_it_would_do_and_changes_nothing(central: Central) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=4))
    site.work_all(central.authority)
    before = central.fsck()["state_hash"]
    would = resize(central, dataset, jobs=1, dry_run=True)
    assert (would.jobs, would.begun_beyond, would.steps, would.tasks) == (1, 3, (2,), 1)
    assert central.fsck()["state_hash"] == before


def test_an_open_dataset_holds_its_fan_in_until_it_is_closed(
    central: Central, tmp_path: Path
) -> None:
    site = central.site()
    dataset = central.submit(replace(chain(jobs=2), open=True))
    site.work_all(central.authority)
    assert central.counts(dataset) == [{"done": 2}, {"done": 2}, {"held": 1}]
    assert central.authority.why(Task(dataset, 0, 2))["reason"] == "open"
    resize(central, dataset, more=1)
    site.work_all(central.authority)
    assert central.counts(dataset) == [{"done": 3}, {"done": 3}, {"held": 1}]
    assert central.authority.dataset(dataset)["open"] is True
    resize(central, dataset, open=False)
    assert central.counts(dataset)[2] == {"ready": 1}
    site.work_all(central.authority)
    assert central.counts(dataset) == [{"done": 3}, {"done": 3}, {"done": 1}]
    rebuilt_alike(central, tmp_path)


def test_a_fan_in_does_not_travel_with_the_jobs_of_an_open_dataset(central: Central) -> None:
    site = central.site()
    central.submit(replace(chain(jobs=2), open=True))
    steps = {
        step
        for one in leased(central, site)
        for lease in one.leases
        for block in lease.blocks
        for step in block.steps
    }
    assert steps == {0, 1}


# -- suspended from the beginning --------------------------------------------------------


def test_what_is_submitted_suspended_is_leased_once_it_is_resumed(
    central: Central, tmp_path: Path
) -> None:
    site = central.site()
    document = spec.encode(chain(jobs=2))

    def submit(**how: bool) -> DatasetId:
        return central.authority.submit(document, idempotency_key="k", token_id=1, **how).id

    dataset = submit(suspended=True)
    assert submit(suspended=True) == dataset
    with pytest.raises(IdempotencyConflict):
        submit()
    assert central.authority.dataset(dataset)["control"] == "suspended"
    assert leased(central, site) == []
    control(central, dataset, ControlWord.RESUME)
    site.work_all(central.authority)
    assert central.counts(dataset) == [{"done": 2}, {"done": 2}, {"done": 1}]
    rebuilt_alike(central, tmp_path)


# -- selections --------------------------------------------------------------------------


@pytest.fixture
def mixed(central: Central) -> DatasetId:
    """Eight jobs: 1 and 2 failed in `generate`, 4 failed once in `weight`, 0 and 3 are done."""
    site = central.site()
    dataset = central.submit(chain(jobs=8, fan_in=False, failures_max=2))
    control(central, dataset, ControlWord.SUSPEND, IntervalSet.of([5, 6, 7]))
    for how in (Fate.OOM, Fate.PAYLOAD_ERROR):
        central.clock.pass_hours(24)
        places = ((0, 1), (0, 2), (1, 4)) if how is Fate.OOM else ((0, 1), (0, 2))
        some = [one for one in leased(central, site) if one.leases]
        if how is Fate.PAYLOAD_ERROR:
            bring(central, site, some, **fails(*places, (1, 4), how=how))
        else:
            bring(central, site, some, **fails(*places, how=how))
    central.site("south")  # where nothing ran
    return dataset


def test_a_soft_reset_runs_again_what_has_no_success(
    central: Central, mixed: DatasetId, tmp_path: Path
) -> None:
    before = central.counts(mixed)
    assert before[0] == {"done": 3, "failed": 2, "held": 3}
    assert before[1] == {"done": 2, "failed": 1, "held": 5}
    would = central.authority.preview(mixed, ControlWord.RESET, None, None, Only(soft=True))
    assert would["verdicts"] == {"failed": 3, "held": 2}  # what would come from two of them
    assert central.counts(mixed) == before
    assert reset(central, mixed, Only(soft=True)) == would["tasks"] == 5
    assert central.counts(mixed) == [
        {"done": 3, "ready": 2, "held": 3},
        {"done": 2, "ready": 1, "held": 5},
    ]
    rebuilt_alike(central, tmp_path)


def test_a_hard_reset_takes_successes_too_and_what_was_made_of_them(
    central: Central, mixed: DatasetId
) -> None:
    assert control(central, mixed, ControlWord.RESET) == 16
    assert central.counts(mixed) == [{"ready": 5, "held": 3}, {"held": 8}]
    central.fsck()


@pytest.mark.parametrize(
    ("only", "where", "meant"),
    [
        (Only(verdicts=frozenset({Verdict.FAILED})), {}, {(0, 1), (0, 2), (1, 4)}),
        (Only(verdicts=frozenset({Verdict.FAILED})), {"steps": (1,)}, {(1, 4)}),
        (
            Only(verdicts=frozenset({Verdict.FAILED})),
            {"jobs": IntervalSet.of([2, 3, 4])},
            {(0, 2), (1, 4)},
        ),
        (Only(fates=frozenset({Fate.OOM})), {}, {(0, 1), (0, 2), (1, 4)}),
        (Only(fates=frozenset({Fate.SIGNAL})), {}, set()),
        (Only(fates=frozenset({Fate.SUCCESS})), {"steps": (1,)}, {(1, 0), (1, 3)}),
        (Only(site="north"), {"steps": (0,)}, {(0, job) for job in range(5)}),
        (Only(site="south"), {}, set()),
        (Only(verdicts=frozenset({Verdict.HELD})), {"steps": (0,)}, {(0, 5), (0, 6), (0, 7)}),
        (Only(soft=True), {}, {(0, 1), (0, 2), (1, 4)}),
    ],
)
def test_tasks_are_selected_by_verdict_fate_site_step_and_job(
    central: Central,
    mixed: DatasetId,
    only: Only,
    where: dict[str, Any],
    meant: Iterable[tuple[int, int]],
) -> None:
    workings = central.authority._w
    row = workings.dataset(mixed)
    found = selecting.regions(
        workings, row, ControlWord.SUSPEND, where.get("steps"), where.get("jobs"), only
    )
    assert found is not None
    assert {(step, job) for step, jobs in found for job in jobs} == set(meant)


def test_what_a_site_holds_is_selected_by_its_name(central: Central) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=4, fan_in=False))
    central.authority.pack(site.name, 4)  # type: ignore[arg-type]
    workings = central.authority._w
    row = workings.dataset(dataset)
    found = selecting.regions(workings, row, ControlWord.CANCEL, None, None, Only(site="north"))
    assert found == ((0, IntervalSet.of([0, 1])), (1, IntervalSet.of([0, 1])))


def test_a_selection_that_fits_nothing_makes_no_commit(central: Central) -> None:
    dataset = central.submit(chain(jobs=4))
    head = central.authority.health()["commit"]
    assert reset(central, dataset, Only(soft=True)) == 0
    assert central.authority.health()["commit"] == head


def fail(central: Central, dataset: DatasetId, jobs: Sequence[int]) -> None:
    """Have tasks of the first step fail for good, in the store: a million take long to run."""
    store, row = central.authority._w.store, central.authority._w.dataset(dataset)
    its = np.array(jobs)
    with store.transaction():
        for block in range(int(its[-1] >> BLOCK_BITS) + 1):
            states = np.zeros(BLOCK_JOBS, np.uint8)
            here = its[its >> BLOCK_BITS == block] & (BLOCK_JOBS - 1)
            states[here] = state_byte.TOUCHED | 1
            packed = packed_block(states, 0, len(here))
            store.tasks.save_blocks(row.no, [BlockRow(0, block, packed, 0, len(here))])
        counts = [0] * len(Verdict)
        counts[state_byte.FAILED] = len(its)
        store.tasks.add_to_steps(row.no, [StepRow(0, tuple(counts), 0, UsageSum())])
        store.datasets.set_touched(row.no, IntervalSet.of(jobs))


def test_three_of_a_hundred_that_failed_among_a_million_are_reset_in_one_commit(
    central: Central,
) -> None:
    step = Step("only", Command(("/bin/true",)), failures_max=1)
    dataset = central.submit(Dataset("bad day", 1_000_000, 1, (step,)))
    failed = range(0, 1_000_000, 33)
    fail(central, dataset, failed)
    assert central.counts(dataset)[0]["failed"] == len(failed)
    head = central.authority.health()["commit"]
    assert reset(central, dataset, Only(verdicts=frozenset({Verdict.FAILED}))) == len(failed)
    assert central.authority.health()["commit"] == head + 1
    assert central.counts(dataset) == [{"ready": 1_000_000}]
    central.reopen()  # what is stored of the control says the same
    assert central.authority.task(Task(dataset, 33, 0))["generation"] == 1
    assert central.authority.task(Task(dataset, 34, 0))["generation"] == 0


def test_a_selection_in_too_many_places_is_refused_and_changes_nothing(
    central: Central, monkeypatch: pytest.MonkeyPatch, mixed: DatasetId
) -> None:
    before = central.fsck()["state_hash"]
    for limit in ("SPANS_MAX", "TASKS_MAX"):
        with monkeypatch.context() as patch:
            patch.setattr(selecting, limit, 1)
            with pytest.raises(SelectionTooLarge):
                reset(central, mixed, Only(verdicts=frozenset({Verdict.FAILED})))
    assert central.fsck()["state_hash"] == before


def test_a_dry_run_counts_what_has_no_trace_too(central: Central) -> None:
    big: Dataset = chain(jobs=10**9)
    dataset = central.submit(big)
    control(central, dataset, ControlWord.CANCEL, IntervalSet.of([70_000]))
    some = IntervalSet(((10, 4 * 10**7),))
    would = central.authority.preview(dataset, ControlWord.SUSPEND, None, some, Only())
    assert would["verdicts"] == {"ready": some_left(some), "held": some_left(some), "cancelled": 2}
    whole = central.authority.preview(dataset, ControlWord.CANCEL, None, None, Only())
    assert whole["tasks"] == 2 * 10**9 + 1
    ready = Only(verdicts=frozenset({Verdict.READY}))
    row = central.authority._w.dataset(dataset)
    few = IntervalSet(((0, 100_000),))
    found = selecting.regions(central.authority._w, row, ControlWord.CANCEL, None, few, ready)
    assert found == ((0, few - IntervalSet.of([70_000])),)


def some_left(jobs: IntervalSet) -> int:
    return len(jobs) - 1
