"""Datasets that need tasks of others, in a real central: given out, pinned, told, made again."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle.dataset import spec
from bundle.dataset.foreign import Foreign, Which
from bundle.dataset.refusals import DatasetRefused, UnknownOutput, UnknownStep
from bundle.dataset.spec import Command, Dataset, Input, Output, Per, Step
from bundle.ids import DatasetId, StreamId, Task
from bundle.intervals import IntervalSet
from bundle.records.foreign import files_of
from bundle.records.lease import Lease
from bundle.trust.keys import MemoryKey
from central import planning, submission
from central.core.authorise import TOKEN_SCOPES, Principal, Role, Visibility
from central.core.edit import Size
from central.core.facts import ControlWord
from central.home import Home
from central.persons import OPERATOR
from central.rebuild import rebuild
from central.store.rows import AccessRow
from central.submission import Given
from tests.central.conftest import Central
from tests.central.scripted_site import Held, ScriptedSite

RUN = Command(("/bin/true",))
MADE = (("m", "in"),)


def makers(jobs: int = 4) -> Dataset:
    """One step, whose output is the dataset's."""
    return Dataset("makers", jobs, 7, (Step("make", RUN, outputs=(Output("m"),)),))


def readers(other: DatasetId, jobs: int = 4, which: Which = Which.SAME) -> Dataset:
    """free needs nobody; read needs the makers' task, and free."""
    per = Per.JOB if which is Which.SAME else Per.DATASET
    need = Foreign(other, "make", which, MADE)
    steps = (
        Step("free", RUN, outputs=(Output("f"),)),
        Step("read", RUN, per, (0,), (Input(0, 0, "f"),), outputs=(Output("r"),), foreign=(need,)),
    )
    return Dataset("readers", jobs, 9, steps)


def fetched(central: Central, site: ScriptedSite, tasks: int = 1000) -> list[tuple[Held, Lease]]:
    central.authority.absorb(site.report(tasks))
    return [(held, lease) for held in site.fetch(central.authority) for lease in held.leases]


def bring(central: Central, site: ScriptedSite, out: list[tuple[Held, Lease]], **how: str) -> None:
    for held, lease in out:
        found = central.authority.absorb(site.result([site.play(held, lease, **how)]))  # type: ignore[arg-type]
        assert found.outcome == "merged", found
        site.works.pop(held.id, None)


def control(
    central: Central, dataset: DatasetId, word: ControlWord, jobs: list[int] | None = None
) -> None:
    chosen = None if jobs is None else IntervalSet.of(jobs)
    key = f"{dataset} {word} {jobs}"
    central.authority.control(dataset, word, chosen, None, idempotency_key=key, token_id=1)


def leased(out: list[tuple[Held, Lease]], dataset: DatasetId) -> set[tuple[int, int]]:
    return {
        (task.step, task.job)
        for _, lease in out
        if lease.dataset == dataset
        for task, _ in lease.tasks()
    }


def test_a_task_goes_out_when_the_task_of_its_number_is_done(central: Central) -> None:
    site = central.site()
    first = central.submit(makers())
    control(central, first, ControlWord.SUSPEND, [1, 3])
    second = central.submit(readers(first))
    out = fetched(central, site)
    assert leased(out, second) == {(0, job) for job in range(4)}, "what needs nobody goes"
    bring(central, site, out)
    assert central.counts(second) == [{"done": 4}, {"ready": 4}]
    again = fetched(central, site)
    assert leased(again, second) == {(1, 0), (1, 2)}
    made = {f"{one.task}": one for _, lease in again for of in lease.foreign for one in of.tasks}
    assert sorted(made) == ["0", "2"]
    bring(central, site, again)
    assert fetched(central, site) == []
    control(central, first, ControlWord.RESUME, [1, 3])
    for _ in range(3):
        bring(central, site, fetched(central, site))
    assert central.counts(second) == [{"done": 4}, {"done": 4}]
    central.fsck()


def test_jobs_of_which_everything_may_go_are_leased_whole_and_in_order(central: Central) -> None:
    site = central.site()
    first = central.submit(makers(10))
    bring(central, site, fetched(central, site))
    control(central, first, ControlWord.RESET, [0, 1, 2])
    need = Foreign(first, "make", Which.SAME, MADE)
    second = central.submit(Dataset("one", 10, 1, (Step("read", RUN, foreign=(need,)),)))
    out = fetched(central, site)
    assert leased(out, second) == {(0, job) for job in range(3, 10)}
    assert leased(out, first) == {(0, job) for job in range(3)}
    bring(central, site, out)
    assert leased(fetched(central, site), second) == {(0, job) for job in range(3)}


def test_all_waits_for_every_task_and_for_a_dataset_to_be_closed(central: Central) -> None:
    site = central.site()
    first = central.submit(replace(makers(), open=True))
    second = central.submit(readers(first, 2, Which.ALL))
    site.work_all(central.authority)
    assert central.counts(first) == [{"done": 4}]
    assert central.counts(second) == [{"done": 2}, {"ready": 1}]
    central.authority.resize(first, Size(open=False), idempotency_key="close", token_id=1)
    out = fetched(central, site)
    assert leased(out, second) == {(1, 0)}
    ((pins,),) = [lease.foreign for _, lease in out]
    assert [one.task for one in pins.tasks] == [0, 1, 2, 3]
    assert pins.outputs == ("m",)
    bring(central, site, out)
    assert central.counts(second)[1] == {"done": 1}
    central.fsck()


def test_files_come_along_and_a_later_reset_does_not_reach_over(central: Central) -> None:
    site, other = central.site(), central.site("south")
    first = central.submit(makers())
    bring(central, site, fetched(central, site))
    second = central.submit(readers(first))
    out = fetched(central, other)
    assert leased(out, second) == {(step, job) for step in (0, 1) for job in range(4)}
    (pins,) = {of for _, lease in out for of in lease.foreign}
    before = files_of([pins])
    assert before <= other.files, "the makers' files travel with the lease"
    bring(central, other, out)
    done = central.counts(second)
    assert done == [{"done": 4}, {"done": 4}]
    control(central, first, ControlWord.RESET, [2])
    assert central.counts(second) == done
    bring(central, site, fetched(central, site), salt="other")
    assert central.counts(second) == done
    control(central, second, ControlWord.RESET, [2])
    (now,) = {of for _, lease in fetched(central, other) for of in lease.foreign}
    after = files_of([now])
    assert len(after) == 1
    assert not after & before, "a reset by hand reads what is there now"
    central.fsck()


def test_an_archive_with_such_leases_gives_the_same_state(central: Central, tmp_path: Path) -> None:
    site = central.site()
    first = central.submit(makers())
    second = central.submit(readers(first))
    site.work_all(central.authority)
    control(central, first, ControlWord.RESET, [1])
    site.work_all(central.authority, salt="again")
    assert central.counts(second) == [{"done": 4}, {"done": 4}]
    live = central.fsck()
    for seed in range(3):
        home = Home(tmp_path / f"rebuilt-{seed}")
        made = rebuild(home, central.home.archive, central.home.trust, shuffle=seed, repeat=2)
        assert made["ok"], made["problems"]
        assert made["state_hash"] == live["state_hash"]


def test_what_could_never_be_met_is_refused(central: Central) -> None:
    two = Dataset(
        "two",
        2,
        1,
        (
            Step("make", RUN, outputs=(Output("m"),)),
            Step("sum", RUN, needs=(0,), inputs=(Input(0, 0, "m"),), outputs=(Output("s"),)),
        ),
    )
    first = central.submit(two)
    nobody = DatasetId("a" * 26)

    def need(**said: object) -> Dataset:
        known = {"dataset": first, "step": "sum", "inputs": (("s", "in"),)}
        one = Foreign(**(known | said))  # type: ignore[arg-type]
        return Dataset("needs", 2, 1, (Step("read", RUN, foreign=(one,)),))

    central.submit(need())
    central.submit(need(step="make", inputs=()))
    with pytest.raises(DatasetRefused, match=r"no dataset aaaa.* that you may read"):
        central.submit(need(dataset=nobody))
    with pytest.raises(UnknownStep, match="did you mean sum"):
        central.submit(need(step="summ"))
    with pytest.raises(UnknownOutput, match="declares s"):
        central.submit(need(inputs=(("x", "in"),)))
    with pytest.raises(DatasetRefused, match=r"need not travel home.*keep = true"):
        central.submit(need(step="make", inputs=(("m", "in"),)))
    with pytest.raises(DatasetRefused, match="has 2 jobs, this one 3"):
        central.submit(replace(need(), jobs=3))


def test_an_edit_makes_no_circle(central: Central) -> None:
    first = central.submit(makers())
    second = central.submit(readers(first))
    back = Foreign(second, "read", Which.SAME, (("r", "back"),))
    own = Foreign(first, "make", Which.SAME, MADE)
    for one in (back, own):
        step = replace(makers().steps[0], foreign=(one,))
        raw = spec.encode(replace(makers(), steps=(step,)))
        with pytest.raises(DatasetRefused, match="needs this one"):
            central.authority.edit(first, raw, idempotency_key=one.dataset, token_id=1)


def test_an_edit_may_change_what_is_read_and_runs_that_again(central: Central) -> None:
    site = central.site()
    first, third = central.submit(makers()), central.submit(replace(makers(), seed=8))
    second = central.submit(readers(first))
    site.work_all(central.authority)
    assert central.counts(second) == [{"done": 4}, {"done": 4}]
    raw = spec.encode(readers(third))
    made = central.authority.edit(second, raw, idempotency_key="edit", token_id=1)
    assert (made.steps, made.tasks) == ((1,), 4)
    out = fetched(central, site)
    assert leased(out, second) == {(1, job) for job in range(4)}
    assert {of.dataset for _, lease in out for of in lease.foreign} == {third}


def test_why_names_the_task_that_is_waited_for_and_what_is_in_its_way(central: Central) -> None:
    site = central.site()
    first = central.submit(makers())
    control(central, first, ControlWord.SUSPEND, [2])
    second = central.submit(readers(first))
    site.work_all(central.authority)
    said = central.authority.why(Task(second, 2, 1))
    assert said["reason"] == "other-dataset"
    because = said["because"][0]
    assert f"task 2 of step make of makers ({first})" in because["text"]
    assert f"3 of 4 done; {first}/2/0: suspended" in because["has"]
    assert because["remedy"] == f"`pulk dataset resume {first}`"
    (told,) = central.authority.needs(second)["needs"]
    assert (told["done"], told["tasks"], told["state"]) == (3, 4, "waiting")


def test_who_may_not_read_the_other_dataset_learns_nothing_of_it(central: Central) -> None:
    first = central.submit(makers())
    second = central.submit(readers(first))
    stranger = Principal("eve", Role.USER, TOKEN_SCOPES, no=7)
    with pytest.raises(DatasetRefused, match="that you may read"):
        raw = spec.encode(replace(readers(first), seed=3))
        central.authority.submit(raw, idempotency_key="eve", token_id=7, by=stranger)
    assert central.authority.find("makers", stranger) == []
    said = central.authority.why(Task(second, 0, 1), stranger)["because"]
    assert not any("makers" in str(one) for one in said)
    (told,) = central.authority.needs(second, stranger)["needs"]
    assert (told["name"], told["done"], told["state"]) == (None, None, "hidden")


def test_a_story_and_an_attempt_name_what_was_read_of_others(central: Central) -> None:
    site = central.site()
    first = central.submit(makers())
    second = central.submit(readers(first))
    site.work_all(central.authority)
    story = central.authority.tell(Task(second, 3, 1))["story"]
    leased = [one["text"] for one in story if one["what"] == "leased"]
    assert any(f"it reads what {first}/3/0 made then" in one for one in leased)
    asked = {"step": 1, "job": 3, "fate": None, "limit": 10, "after": 0, "detail": True}
    (row,) = central.authority.attempts(second, **asked)["attempts"]  # type: ignore[arg-type]
    (read,) = row["foreign"]
    assert (read["task"], read["name"], read["step"]) == (f"{first}/3/0", "in", "make")


def test_outputs_that_are_nowhere_are_made_anew_for_the_same_owner_alone(central: Central) -> None:
    site = central.site()
    step = Step("make", RUN, outputs=(Output("m", keep=True),))
    last = Step("use", RUN, needs=(0,), inputs=(Input(0, 0, "m"),))
    first = central.submit(replace(makers(), steps=(replace(step, outputs=(Output("m"),)), last)))
    site.work_all(central.authority)  # both in one bundle: m stays at the site
    raw = spec.encode(replace(makers(), steps=(step, last)))
    central.authority.edit(first, raw, idempotency_key="keep", token_id=1)
    owner = AccessRow(DatasetId(""), "anna", "", "public")
    anna = Principal("anna", Role.USER, TOKEN_SCOPES, no=3)
    central.authority.share(first, OPERATOR, owner=None, group=None, visibility=Visibility.PUBLIC)
    hers = central.authority.submit(
        spec.encode(readers(first)), idempotency_key="a", token_id=3, by=anna, asked=owner
    ).id
    site.work_all(central.authority)
    assert central.counts(first) == [{"done": 4}, {"done": 4}], "hers does not reset it"
    assert central.counts(hers) == [{"done": 4}, {"ready": 4}]
    why = central.authority.why(Task(hers, 1, 1))
    assert why["reason"] == "inputs-nowhere"
    assert f"pulk dataset reset {first} --step make --jobs 1" in why["because"][0]["remedy"]
    ours = central.submit(readers(first))
    for _ in range(4):
        site.work_all(central.authority)
    assert central.counts(ours) == [{"done": 4}, {"done": 4}]
    assert central.counts(hers) == [{"done": 4}, {"done": 4}]
    central.fsck()


def test_a_block_over_there_is_needed_by_each_of_its_jobs(central: Central) -> None:
    site = central.site()
    make = Step("each", RUN, outputs=(Output("e"),))
    blocks = Step(
        "make",
        RUN,
        Per.BLOCK,
        (0,),
        (Input(0, 0, "e"),),
        outputs=(Output("m"),),
        block_jobs=4,
    )
    first = central.submit(Dataset("blocks", 10, 7, (make, blocks)))
    control(central, first, ControlWord.SUSPEND, [5])
    second = central.submit(readers(first, 10))
    for _ in range(4):
        site.work_all(central.authority)
    assert central.counts(second) == [{"done": 10}, {"ready": 4, "done": 6}]
    assert central.authority.why(Task(second, 6, 1))["reason"] == "other-dataset"
    control(central, first, ControlWord.RESUME, [5])
    for _ in range(4):
        site.work_all(central.authority)
    assert central.counts(second) == [{"done": 10}, {"done": 10}]
    central.fsck()


def test_the_first_ready_tasks_that_all_wait_hide_no_later_one(central: Central) -> None:
    site = central.site()
    first = central.submit(makers(60))
    control(central, first, ControlWord.SUSPEND, list(range(57)))
    second = central.submit(readers(first, 60))
    for _ in range(40):
        site.work_all(central.authority, tasks_wanted=3)
    assert central.counts(second) == [{"done": 60}, {"ready": 57, "done": 3}]


def test_a_dataset_that_was_looked_at_in_vain_is_looked_at_when_the_other_moves(
    central: Central,
) -> None:
    site = central.site()
    first = central.submit(makers(1))
    need = Foreign(first, "make", Which.SAME, ())
    second = central.submit(Dataset("after", 1, 1, (Step("read", RUN, foreign=(need,)),)))
    out = fetched(central, site)
    assert leased(out, second) == set()
    for _ in range(3):
        assert fetched(central, site) == []
    bring(central, site, out)
    again = fetched(central, site)
    assert leased(again, second) == {(0, 0)}
    assert [lease.foreign for _, lease in again] == [()], "no file is read: nothing is stated"


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["work", "reset", "edit", "other"]), st.booleans(), st.integers(0, 3)
    ),
    max_size=6,
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(acts=ACTS, shuffle=st.integers(0, 99))
def test_any_order_and_repetition_of_two_datasets_gives_one_state(
    acts: list[tuple[str, bool, int]], shuffle: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        central = Central(Path(name))
        try:
            site = central.site()
            first = central.submit(makers())
            second = central.submit(readers(first))
            for at, (act, is_first, job) in enumerate(acts):
                dataset = first if is_first else second
                match act:
                    case "work":
                        site.work_all(central.authority, tasks_wanted=2 + job, salt=f"{at}")
                    case "reset":
                        key = {"idempotency_key": f"{at}", "token_id": 1}
                        chosen = (ControlWord.RESET, IntervalSet.of([job]), None)
                        central.authority.control(dataset, *chosen, **key)  # type: ignore[arg-type]
                    case "other":
                        bring(central, site, fetched(central, site, 3)[:1], salt=f"{at}")
                    case _:
                        of = makers() if is_first else readers(first)
                        raw = spec.encode(replace(of, seed=at))
                        central.authority.edit(dataset, raw, idempotency_key=f"{at}", token_id=1)
            live = central.fsck()
            home = Home(Path(name) / "anew")
            trust = central.home.trust
            made = rebuild(home, central.home.archive, trust, shuffle=shuffle, repeat=2)
            assert made["ok"], made["problems"]
            assert made["state_hash"] == live["state_hash"]
        finally:
            central.authority.close()


def test_a_submission_by_courier_has_the_rights_of_who_signed_it(central: Central) -> None:
    first = central.submit(makers())
    anna = MemoryKey(bytes(range(32)))
    central.authority.add_user("anna", anna.public)
    raw = spec.encode(readers(first))

    def bring_it(number: int) -> str:
        path = central.folder / f"{number}.pulk"
        stream = StreamId(number.to_bytes(16, "big"))
        submission.write(path, Given(raw), anna, stream=stream, created_us=1)
        found = central.authority.absorb(path)
        return f"{found.outcome} {found.text}"

    assert "refused" in bring_it(1)
    assert "that you may read" in bring_it(2)
    central.authority.share(first, OPERATOR, owner=None, group=None, visibility=Visibility.PUBLIC)
    assert bring_it(3).startswith("merged")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (ControlWord.CANCEL, "cancelled"),
        (ControlWord.SUSPEND, "suspended"),
        (ControlWord.TOMBSTONE, "not there any more"),
    ],
)
def test_what_stops_the_other_dataset_is_told_and_waited_for(
    central: Central, word: ControlWord, said: str
) -> None:
    site = central.site()
    first = central.submit(makers())
    second = central.submit(readers(first))
    control(central, first, word)
    for _ in range(2):
        site.work_all(central.authority)
    assert central.counts(second) == [{"done": 4}, {"ready": 4}]
    (because, *_) = central.authority.why(Task(second, 1, 1))["because"]
    assert because["code"] == "other-dataset"
    assert said in because["text"] + because.get("has", "")
    assert because["remedy"]


def test_a_truncated_or_edited_other_dataset_is_waited_for_and_why_says_so(
    central: Central,
) -> None:
    site = central.site()
    first = central.submit(makers())
    control(central, first, ControlWord.SUSPEND)
    second = central.submit(readers(first))
    site.work_all(central.authority)
    central.authority.resize(first, Size(jobs=2), idempotency_key="cut", token_id=1)
    (because, *_) = central.authority.why(Task(second, 3, 1))["because"]
    assert "which has 2 jobs" in because["text"]
    assert because["remedy"].startswith(f"`pulk dataset extend {first} 2`")
    other = replace(makers(2), steps=(Step("make", RUN, outputs=(Output("n"),)),))
    raw = spec.encode(other)
    central.authority.edit(first, raw, idempotency_key="renamed", token_id=1)
    control(central, first, ControlWord.RESUME)
    for _ in range(2):
        site.work_all(central.authority)
    assert central.counts(first) == [{"done": 2}]
    assert central.counts(second) == [{"done": 4}, {"ready": 4}]
    (because, *_) = central.authority.why(Task(second, 1, 1))["because"]
    assert "an edit took away there" in because["text"]
    assert central.authority.needs(second)["needs"][0]["state"] == "changed"


def test_an_edit_that_keeps_outputs_no_more_makes_nothing_run_for_ever(central: Central) -> None:
    site = central.site()
    kept = Step("make", RUN, outputs=(Output("m", keep=True),))
    last = Step("use", RUN, needs=(0,), inputs=(Input(0, 0, "m"),))
    first = central.submit(replace(makers(), steps=(kept, last)))
    second = central.submit(readers(first))
    gone = replace(makers(), steps=(replace(kept, outputs=(Output("m"),)), last))
    raw = spec.encode(gone)
    central.authority.edit(first, raw, idempotency_key="not kept", token_id=1)
    for _ in range(4):
        site.work_all(central.authority)
    assert central.counts(first) == [{"done": 4}, {"done": 4}]
    assert central.counts(second) == [{"done": 4}, {"ready": 4}]
    (because, *_) = central.authority.why(Task(second, 0, 1))["because"]
    assert because["code"] == "inputs-nowhere"
    assert "keep = true" in because["remedy"]


def test_who_needs_all_tasks_of_another_fits_into_bundles(
    central: Central, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "LEASE_PINS_MAX", 40)
    monkeypatch.setattr(planning, "BUNDLE_PINS_MAX", 60)
    site = central.site()
    first = central.submit(makers(20))
    site.work_all(central.authority)
    need = Foreign(first, "make", Which.ALL, MADE)
    second = central.submit(Dataset("many", 900, 1, (Step("read", RUN, foreign=(need,)),)))
    out = fetched(central, site)
    assert all(len(of.tasks) == 20 for _, lease in out for of in lease.foreign)
    assert 1 <= len(out) <= 3, "each lease repeats them"
    bring(central, site, out)
    site.work_all(central.authority)
    assert central.counts(second) == [{"done": 900}]
