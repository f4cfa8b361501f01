"""Editing a dataset's document, and adopting results of before a reset."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Output, Request
from bundle.fates import Fate
from bundle.ids import DatasetId, Task
from bundle.intervals import IntervalSet
from bundle.records.rules import RetryRules
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from central.core.facts import ControlWord
from central.editing import Edited
from central.errors import EditRefused
from central.rebuild import rebuild
from tests.central.conftest import Central, chain
from tests.central.scripted_site import ScriptedSite


def edit(central: Central, dataset: DatasetId, document: Dataset, key: str = "") -> Edited:
    return central.authority.edit(
        dataset,
        spec.encode(document),
        idempotency_key=key or os.urandom(8).hex(),
        token_id=1,
    )


def control(
    central: Central,
    dataset: DatasetId,
    word: ControlWord,
    jobs: IntervalSet | None = None,
    steps: tuple[int, ...] | None = None,
) -> int:
    key = os.urandom(8).hex()
    return central.authority.control(dataset, word, jobs, steps, idempotency_key=key, token_id=1)


def with_step(document: Dataset, step: int, **changes: Any) -> Dataset:
    steps = list(document.steps)
    steps[step] = replace(steps[step], **changes)
    return replace(document, steps=tuple(steps))


def leased(central: Central, site: ScriptedSite, wanted: int = 1000) -> list[Any]:
    central.authority.absorb(site.report(wanted))
    return [one for one in site.fetch(central.authority) if one.leases]


def bring(central: Central, site: ScriptedSite, held: list[Any], **how: Any) -> None:
    for one in held:
        played = [site.play(one, lease, **how) for lease in one.leases]
        assert central.authority.absorb(site.result(played)).outcome == "merged"
        del site.works[one.id]


def rebuilt_alike(central: Central, folder: Path, orders: int = 8) -> None:
    """Whatever order the archive is read in, the state is the same, and fsck agrees with it."""
    live = central.fsck()
    for seed in range(orders):
        home = replace(central.home, root=folder / f"fresh-{seed}")
        made = rebuild(home, central.home.archive, central.home.trust, shuffle=seed, repeat=1)
        assert made["ok"], made["problems"]
        assert made["state_hash"] == live["state_hash"], seed
        assert made["done"] == live["done"]


OTHER = Command(("/bin/false",))


def test_an_edit_of_requests_and_caps_makes_nothing_stale(central: Central) -> None:
    site, document = central.site(), chain(jobs=4, failures_max=1)
    dataset = central.submit(document)
    held = leased(central, site)
    changed = document
    for step in range(3):
        changed = with_step(
            changed, step, request=Request(memory_mib=2048), failures_max=3,
            retry=RetryRules(payload_max=2),
        )  # fmt: skip
    made = edit(central, dataset, replace(changed, name="renamed", description="better"))
    assert (made.steps, made.tasks) == ((), 0)
    assert central.authority.dataset(dataset)["name"] == "renamed"
    bring(central, site, held)
    assert central.counts(dataset) == [{"done": 4}, {"done": 4}, {"done": 1}]
    central.fsck()


def test_what_was_leased_before_a_command_was_edited_comes_home_stale(
    central: Central, tmp_path: Path
) -> None:
    site, document = central.site(), chain(jobs=4)
    dataset = central.submit(document)
    held = leased(central, site)
    made = edit(central, dataset, with_step(document, 1, run=OTHER))
    assert (made.steps, made.tasks) == ((1,), 5)  # weight of four jobs, and their spectrum
    bring(central, site, held)
    assert central.counts(dataset) == [{"done": 4}, {"ready": 4}, {"held": 1}]
    central.fsck()
    rebuilt_alike(central, tmp_path / "stale")
    site.work_all(central.authority, salt="again")
    assert central.counts(dataset) == [{"done": 4}, {"done": 4}, {"done": 1}]
    told = central.authority.task(Task(dataset, 1, 1))
    assert told["command"] == ["/bin/false"]
    assert [one["generation"] for one in told["attempts"]][:1] == [0]
    rebuilt_alike(central, tmp_path / "again")


def test_an_edit_of_the_seed_makes_all_that_ran_stale(central: Central, tmp_path: Path) -> None:
    site, document = central.site(), chain(jobs=3)
    dataset = central.submit(document)
    site.work_all(central.authority)
    made = edit(central, dataset, replace(document, seed=8))
    assert (made.steps, made.tasks) == ((0, 1, 2), 7)
    assert central.counts(dataset) == [{"ready": 3}, {"held": 3}, {"held": 1}]
    site.work_all(central.authority, salt="eight")
    assert central.counts(dataset) == [{"done": 3}, {"done": 3}, {"done": 1}]
    rebuilt_alike(central, tmp_path)


def test_an_edit_touches_only_what_was_begun(central: Central) -> None:
    site, document = central.site(), chain(jobs=50, fan_in=False)
    dataset = central.submit(document)
    held = leased(central, site, 10)
    made = edit(central, dataset, replace(document, seed=8))
    begun = sum(lease.count() for one in held for lease in one.leases)
    assert made.tasks == begun < 100
    bring(central, site, held)
    assert central.counts(dataset) == [{"ready": 50}, {"held": 50}]
    site.work_all(central.authority)
    assert central.counts(dataset) == [{"done": 50}, {"done": 50}]
    central.fsck()


def test_an_edit_taken_back_and_adopted_runs_nothing_again(
    central: Central, tmp_path: Path
) -> None:
    site, document = central.site(), chain(jobs=3)
    dataset = central.submit(document)
    site.work_all(central.authority)
    edit(central, dataset, with_step(document, 0, environment=(("A", "1"),)))
    edit(central, dataset, document)
    assert central.counts(dataset) == [{"ready": 3}, {"held": 3}, {"held": 1}]
    control(central, dataset, ControlWord.ADOPT)
    assert central.counts(dataset) == [{"done": 3}, {"done": 3}, {"done": 1}]
    assert leased(central, site) == []
    rebuilt_alike(central, tmp_path)


def test_what_ran_before_a_reset_is_adopted_where_it_still_fits(
    central: Central, tmp_path: Path
) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=4))
    site.work_all(central.authority)
    control(central, dataset, ControlWord.RESET, IntervalSet.of([1, 2]), (1,))
    assert central.counts(dataset) == [{"done": 4}, {"done": 2, "ready": 2}, {"held": 1}]
    assert control(central, dataset, ControlWord.ADOPT, IntervalSet.of([1]), (1,)) == 1
    assert central.counts(dataset) == [{"done": 4}, {"done": 3, "ready": 1}, {"held": 1}]
    control(central, dataset, ControlWord.ADOPT)
    assert central.counts(dataset) == [{"done": 4}, {"done": 4}, {"done": 1}]
    assert leased(central, site) == []
    rebuilt_alike(central, tmp_path)


def test_a_raised_cap_lets_what_failed_run_again(central: Central, tmp_path: Path) -> None:
    site, document = central.site(), chain(jobs=3, failures_max=1)
    dataset = central.submit(document)
    held = leased(central, site)
    bring(central, site, held, fate=lambda place, _: _fails_at(place, 2))
    assert central.counts(dataset)[0] == {"done": 2, "failed": 1}
    edit(central, dataset, chain(jobs=3, failures_max=2))
    assert central.counts(dataset)[0] == {"done": 2, "ready": 1}
    central.fsck()
    edit(central, dataset, document)
    assert central.counts(dataset)[0] == {"done": 2, "failed": 1}
    rebuilt_alike(central, tmp_path)


def _fails_at(place: tuple[int, int], job: int) -> Fate:
    return Fate.PAYLOAD_ERROR if place == (0, job) else Fate.SUCCESS


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (chain(jobs=5), "it has 5 jobs instead of 4"),
        (chain(jobs=4, fan_in=False), "it has 2 steps instead of 3"),
        (
            with_step(chain(jobs=4), 1, needs=(), inputs=()),
            "its step 'weight' needs nothing instead of generate",
        ),
        (with_step(chain(jobs=4), 0, name="make"), "its step 0 is 'make' instead of 'generate'"),
    ],
)
def test_another_shape_is_refused_with_words_and_changes_nothing(
    central: Central, document: Dataset, words: str
) -> None:
    dataset = central.submit(chain(jobs=4))
    before = central.fsck()["state_hash"]
    with pytest.raises(EditRefused) as refused:
        edit(central, dataset, document)
    assert words in refused.value.text()
    assert central.fsck()["state_hash"] == before


def test_an_edit_that_is_asked_for_again_edits_once(central: Central) -> None:
    site, document = central.site(), chain(jobs=2)
    dataset = central.submit(document)
    site.work_all(central.authority)
    changed = with_step(document, 0, outputs=(Output("g", keep=True),))
    first = edit(central, dataset, replace(changed, seed=1), key="k")
    head = central.authority.health()["commit"]
    central.reopen()
    assert edit(central, dataset, replace(changed, seed=1), key="k") == first
    assert central.authority.health()["commit"] == head


def test_a_crash_between_commit_and_database_loses_no_edit(central: Central) -> None:
    site, document = central.site(), chain(jobs=2)
    dataset = central.submit(document)
    site.work_all(central.authority)
    before = central.home.database.read_bytes()
    edit(central, dataset, replace(document, seed=8), key="k")
    central.authority.close()
    for path in central.home.root.glob(f"{central.home.database.name}*"):
        path.unlink()
    central.home.database.write_bytes(before)
    central.reopen()
    assert central.counts(dataset)[0] == {"ready": 2}
    assert edit(central, dataset, replace(document, seed=8), key="k").steps == (0, 1, 2)
    assert central.counts(dataset)[0] == {"ready": 2}
    central.fsck()


def test_without_submission_and_edit_the_document_leased_from_last_is_in_force(
    central: Central, tmp_path: Path
) -> None:
    """What a central knows that lost its commits, in whatever order results tell it."""
    site, document = central.site(), chain(jobs=3, fan_in=False)
    dataset = central.submit(document)
    site.work_all(central.authority)
    changed = with_step(document, 1, run=OTHER)
    edit(central, dataset, changed)
    site.work_all(central.authority, salt="again")
    archive = tmp_path / "archive"
    for path in central.home.archive.rglob("*.pulk"):
        with open_bundle(path, site.trust, audience=None, kinds=frozenset(Kind)) as bundle:
            if bundle.manifest.kind is not Kind.COMMIT:
                copy = archive / path.parent.name / path.name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
    found = []
    for seed in range(12):
        home = replace(central.home, root=tmp_path / f"fresh-{seed}")
        made = rebuild(home, archive, central.home.trust, shuffle=seed, repeat=1)
        assert made["ok"], made["problems"]
        found.append((made["state_hash"], made["done"]))
    assert found == found[:1] * 12
