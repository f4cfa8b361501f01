"""The graph: parents per task, an order, and cycles named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.dataset import graph
from bundle.dataset.refusals import CycleFound, DuplicateName, UnknownStep
from bundle.dataset.spec import Command, Dataset, Per, Step

RUN = Command(("true",))


def dataset_of(needs: list[tuple[int, ...]], jobs: int = 1) -> Dataset:
    steps = tuple(Step(f"s{n}", RUN, needs=one) for n, one in enumerate(needs))
    return Dataset("graph", jobs, 0, steps)


@st.composite
def acyclic(draw: Callable[..., list[int]]) -> list[tuple[int, ...]]:
    """Draw needs that only point to steps of a smaller rank, with the ranks shuffled."""
    count = draw(st.integers(1, 12))
    rank = draw(st.permutations(range(count)))
    return [
        tuple(draw(st.lists(st.sampled_from(below), unique=True))) if below else ()
        for below in (
            [other for other in range(count) if rank[other] < rank[n]] for n in range(count)
        )
    ]


@given(acyclic())
def test_every_step_comes_after_its_parents(needs: list[tuple[int, ...]]) -> None:
    dataset = dataset_of(needs)
    order = graph.order(dataset)
    assert sorted(order) == list(range(len(needs)))
    place = {step: n for n, step in enumerate(order)}
    assert all(place[parent] < place[step] for step, row in enumerate(needs) for parent in row)
    graph.check(dataset)


@given(acyclic())
def test_children_are_the_reverse_of_needs(needs: list[tuple[int, ...]]) -> None:
    children = graph.children_steps(dataset_of(needs))
    forward = {(parent, step) for step, row in enumerate(needs) for parent in row}
    assert {(step, child) for step, row in enumerate(children) for child in row} == forward


@given(acyclic(), st.data())
def test_one_more_edge_backwards_is_a_cycle_that_is_named(
    needs: list[tuple[int, ...]], data: st.DataObject
) -> None:
    edges = [(parent, step) for step, row in enumerate(needs) for parent in row]
    if not edges:
        return
    parent, step = data.draw(st.sampled_from(edges))
    closed = [(*row, step) if n == parent else row for n, row in enumerate(needs)]
    with pytest.raises(CycleFound) as caught:
        graph.check(dataset_of(closed))
    named = str(caught.value.fields["steps"]).split(" -> ")
    assert named[0] == named[-1]
    if "..." not in named:
        numbers = [int(name[1:]) for name in named]
        assert all(a in closed[b] for a, b in pairwise(numbers))


def test_a_fan_in_needs_every_job_and_a_step_after_it_job_zero() -> None:
    steps = (
        Step("a", RUN),
        Step("b", RUN),
        Step("all", RUN, per=Per.DATASET, needs=(1, 0)),
        Step("each", RUN, needs=(2, 0)),
        Step("last", RUN, per=Per.DATASET, needs=(2,)),
    )
    dataset = Dataset("fan", 3, 0, steps)
    assert graph.parents(dataset, 0, 2) == ()
    assert graph.parents(dataset, 2, 0) == ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2))
    assert graph.parents(dataset, 3, 2) == ((0, 2), (2, 0))
    assert graph.parents(dataset, 4, 0) == ((2, 0),)


def test_needs_that_do_not_exist_or_repeat_are_refused() -> None:
    with pytest.raises(UnknownStep, match=r"steps\[1\]\.needs\[1\]"):
        graph.check(dataset_of([(), (0, 2)]))
    with pytest.raises(DuplicateName, match=r"steps\[1\]\.needs\[1\]"):
        graph.check(dataset_of([(), (0, 0)]))


class Counted(tuple[tuple[str, bytes], ...]):
    """Entries of a document that count how often somebody goes through all of them."""

    times = 0

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        type(self).times += 1
        return super().__iter__()


@pytest.mark.parametrize("steps", [1, 200])
def test_files_and_parameters_are_gone_through_as_often_however_many_steps_there_are(
    steps: int,
) -> None:
    class Files(Counted):
        pass

    class Parameters(Counted):
        pass

    files = Files((f"f{place}", b"") for place in range(steps))
    parameters = Parameters((f"p{place}", "1") for place in range(steps))
    of = tuple(
        Step(f"s{place}", Command(("true", f"$(p{place})")), files=(f"f{place}",))
        for place in range(steps)
    )
    graph.check(Dataset("many", 1, 0, of, parameters=parameters, files=files))  # type: ignore[arg-type]
    assert Files.times <= 4 and Parameters.times <= 4
