"""The planner: what is leased together, how it is cut, and that nothing is ever stuck."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Input, Output, Per, Step
from bundle.intervals import IntervalSet
from central.core.changes import implied_row
from central.core.controls import Controls
from central.core.dag import Dag
from central.core.facts import Place, TaskRow, Verdict
from central.core.plan import Selection, View, looked_at, prefix_steps, select
from central.core.shards import Shard, cut
from tests.central.conftest import chain

RUN = Command(("/bin/true",))


def dag(document: Dataset) -> Dag:
    return Dag(document, spec.dataset_digest(spec.encode(document)))


def view(of: Dag, rows: dict[Place, Verdict] | None = None) -> View:
    """A dataset in which some tasks have rows of the given verdicts."""
    kept = {
        place: TaskRow(*place, 0, word, b"x" if word is Verdict.DONE else b"", 0, 0)
        for place, word in (rows or {}).items()
    }
    touched = IntervalSet.of(job for step, job in kept if not of.whole[step])
    begun = sorted(
        {job for (step, job), row in kept.items() if row.verdict is Verdict.READY} & set(touched)
    )
    done: dict[int, int] = {}
    for (step, _), row in kept.items():
        done[step] = done.get(step, 0) + (row.verdict is Verdict.DONE)
    fresh = IntervalSet(((0, of.dataset.jobs),)) - touched
    ready = [place for place, row in kept.items() if row.verdict is Verdict.READY]
    wanted = set(looked_at(of, begun, fresh.take(5), ready))
    rows_ = {place: row for place, row in kept.items() if place in wanted}
    blocks = frozenset(place for place in wanted if of.whole[place[0]])
    return View(of, Controls(), fresh, tuple(begun), rows_, done, blocks=blocks)


def planned(of: View, tasks_max: int, shard_max: int) -> list[Shard]:
    return cut(of, select(of, tasks_max, shard_max), shard_max)


def diamond(jobs: int) -> Dataset:
    steps = (
        Step("top", RUN, outputs=(Output("a"),)),
        Step("left", RUN, needs=(0,), inputs=(Input(0, 0, "a"),), outputs=(Output("b"),)),
        Step("right", RUN, needs=(0,), inputs=(Input(0, 0, "a"),), outputs=(Output("c"),)),
        Step("bottom", RUN, needs=(1, 2), inputs=(Input(1, 0, "b"),), outputs=(Output("d"),)),
    )
    return Dataset("diamond", jobs, 7, steps)


@st.composite
def documents(draw: st.DrawFn) -> Dataset:
    steps: list[Step] = []
    size = draw(st.integers(1, 4))
    for number in range(draw(st.integers(1, 9))):
        needs = tuple(
            sorted(draw(st.sets(st.integers(0, number - 1), max_size=3))) if number else ()
        )
        above = {steps[one].per for one in needs}
        words = [Per.JOB, Per.JOB, Per.JOB] if Per.BLOCK not in above else [Per.BLOCK]
        words += [Per.BLOCK] if above - {Per.DATASET} else []
        per = draw(st.sampled_from([*words, Per.DATASET]))
        steps.append(
            Step(
                f"s{number}",
                RUN,
                per=per,
                block_jobs=size if per is Per.BLOCK else 0,
                needs=needs,
                inputs=tuple(Input(one, 0, f"in{one}") for one in needs if draw(st.booleans())),
                outputs=(Output("out", keep=draw(st.booleans())),),
            )
        )
    return Dataset("drawn", draw(st.integers(1, 5)), 7, tuple(steps))


def parents(of: Dag, place: Place) -> list[Place]:
    return [*of.parents(place), *of.fan_ins(place)]


@given(documents(), st.integers(1, 12), st.integers(1, 6))
def test_bundle_after_bundle_every_task_is_leased_once_after_its_parents(
    document: Dataset, tasks_max: int, shard_max: int
) -> None:
    of = dag(document)
    rows: dict[Place, Verdict] = {}
    everything = {
        (step, job) for step in range(len(document.steps)) for job in range(document.tasks_of(step))
    }
    for _ in range(len(everything) + 1):
        shards = planned(view(of, rows), tasks_max, shard_max)
        if not shards:
            break
        check_shards(of, rows, shards, shard_max)
        for shard in shards:
            for place, _generation in shard.places():
                rows[place] = Verdict.DONE
        open_up(of, rows)
    assert {place for place, word in rows.items() if word is Verdict.DONE} == everything


def check_shards(of: Dag, rows: dict[Place, Verdict], shards: list[Shard], shard_max: int) -> None:
    of_place: dict[Place, int] = {}
    for number, shard in enumerate(shards):
        places = [place for place, _ in shard.places()]
        assert len(places) <= max(shard_max, 1) or len({job for _, job in places}) == 1
        for place in places:
            assert place not in of_place
            assert rows.get(place) is not Verdict.DONE
            of_place[place] = number
    for place, number in of_place.items():
        shard = shards[number]
        for parent in parents(of, place):
            if parent in of_place:
                assert of_place[parent] == number or of_place[parent] in shard.needs
                assert of_place[parent] <= number  # so needs never form a circle
            else:
                assert rows.get(parent) is Verdict.DONE
                assert parent in shard.outside
        for reader in of.consumed_by[place[0]]:
            if of.whole[place[0]] or of.whole[reader]:
                continue
            if (reader, place[1]) not in of_place:
                assert place[0] in shard.returns
        if not of.consumed_by[place[0]] or of.dataset.steps[place[0]].outputs[0].keep:
            assert place[0] in shard.returns


def open_up(of: Dag, rows: dict[Place, Verdict]) -> None:
    """Give rows to what is ready now, as the merge does."""
    begun = {job for step, job in rows if not of.whole[step]}
    for step in of.order:
        for job in range(of.dataset.tasks_of(step)):
            place = (step, job)
            if rows.get(place) is Verdict.DONE:
                continue
            if all(rows.get(parent) is Verdict.DONE for parent in parents(of, place)) and (
                of.needs[step] or (not of.whole[step] and job in begun)
            ):
                rows[place] = Verdict.READY


def test_whole_jobs_go_together_and_a_small_job_is_never_cut() -> None:
    of = view(dag(diamond(10)))
    chosen = select(of, 11, 100)
    assert (chosen.fresh, chosen.prefix) == (IntervalSet(((0, 2),)), (0, 1, 2, 3))
    assert select(of, 3, 100).count() == 4  # nothing else is there: rather one whole job


def test_several_jobs_share_a_shard_in_contiguous_ranges() -> None:
    shards = planned(view(dag(diamond(10))), 1000, 12)
    assert [shard.blocks[0].jobs.spans for shard in shards] == [
        ((0, 3),),
        ((3, 6),),
        ((6, 9),),
        ((9, 10),),
    ]
    assert all(not shard.needs and shard.returns == (2, 3) for shard in shards)


def test_a_job_larger_than_a_shard_is_cut_so_that_shards_need_earlier_ones() -> None:
    shards = planned(view(dag(diamond(1))), 1000, 2)
    assert [[place[0] for place, _ in shard.places()] for shard in shards] == [[0], [1, 2], [3]]
    assert [shard.needs for shard in shards] == [(), (0,), (1,)]


def test_a_fan_in_goes_along_when_all_its_parents_do() -> None:
    shards = planned(view(dag(chain(jobs=4))), 1000, 4)
    assert shards[-1].needs == (0, 1)
    assert not shards[-1].outside
    assert all(shard.returns == () for shard in shards[:-1])  # nobody else reads them


def test_a_fan_in_waits_for_later_jobs_and_then_builds_upon_pins() -> None:
    of = dag(chain(jobs=4))
    first = planned(view(of), 4, 4)
    assert first[0].returns == (1,)  # the fan-in will run elsewhere
    rows = dict.fromkeys([(s, j) for s in (0, 1) for j in range(4)], Verdict.DONE)
    (last,) = planned(view(of, rows | {(2, 0): Verdict.READY}), 10, 4)
    assert last.outside == tuple((1, job) for job in range(4))


def test_a_chosen_job_range_costs_what_the_bundle_costs() -> None:
    of = dag(diamond(10**8))
    chosen = select(View(of, Controls(), IntervalSet(((7, 10**8),)), (), {}, {}), 400, 100)
    assert chosen.fresh == IntervalSet(((7, 107),))
    assert isinstance(chosen, Selection)


def test_steps_that_rest_on_a_step_per_dataset_are_no_part_of_a_fresh_job() -> None:
    whole = Step("calibrate", RUN, per=Per.DATASET, outputs=(Output("c"),))
    one = Step("simulate", RUN, outputs=(Output("s"),))
    both = Step("apply", RUN, needs=(0, 1), inputs=(Input(0, 0, "c"),), outputs=(Output("a"),))
    of = dag(Dataset("calibrated", 3, 7, (whole, one, both)))
    assert prefix_steps(of) == (1,)
    assert implied_row(of, Controls(), (0, 0)).verdict is Verdict.READY
    assert implied_row(of, Controls(), (2, 0)).verdict is Verdict.HELD
