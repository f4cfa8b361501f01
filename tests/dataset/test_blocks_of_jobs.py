"""Steps per block of jobs in the document: which task needs which, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import shape
from bundle.dataset import graph, spec
from bundle.dataset.refusals import DatasetRefused
from bundle.dataset.spec import Command, Dataset, Per, Step
from bundle.dataset.spec_hash import spec_hash
from central import document
from central.core.dag import Dag

RUN = Command(("true",))
KINDS = (Per.JOB, Per.BLOCK, Per.DATASET)


def pair(child: Per, parent: Per, jobs: int, size: int) -> Dataset:
    def step(name: str, per: Per, *needs: int) -> Step:
        return Step(name, RUN, per, needs, block_jobs=size if per is Per.BLOCK else 0)

    return Dataset("pair", jobs, 0, (step("parent", parent), step("child", child, 0)))


def jobs_of(dataset: Dataset, step: int, task: int) -> set[int]:
    """The jobs that a task is about."""
    span = dataset.span(step)
    return set(range(task * span, min((task + 1) * span, dataset.jobs)))


@given(st.sampled_from(KINDS), st.sampled_from(KINDS), st.integers(1, 12), st.integers(1, 5))
def test_a_task_needs_those_about_its_own_jobs(
    child: Per, parent: Per, jobs: int, size: int
) -> None:
    dataset = pair(child, parent, jobs, size)
    if (child, parent) == (Per.JOB, Per.BLOCK):
        with pytest.raises(DatasetRefused):
            graph.check(dataset)
        return
    edges = set()
    for task in range(dataset.tasks_of(1)):
        found = set(graph.needed(dataset, 1, task, 0))
        mine = jobs_of(dataset, 1, task)
        every = range(dataset.tasks_of(0))
        assert found == {one for one in every if mine & jobs_of(dataset, 0, one)}
        assert graph.parents(dataset, 1, task) == tuple((0, one) for one in sorted(found))
        edges |= {(one, task) for one in found}
    back = {
        (task, one)
        for task in range(dataset.tasks_of(0))
        for one in graph.needing(dataset, 0, task, 1)
    }
    assert back == edges
    dag = Dag(dataset, b"")
    for task in range(dataset.tasks_of(1)):
        both = {*dag.parents((1, task)), *dag.fan_ins((1, task))}
        assert both == {(0, one) for one in graph.needed(dataset, 1, task, 0)}


def written(**merge: Any) -> dict[str, Any]:
    step = {"name": "merge", "command": ["x"], "needs": ["make"], "outputs": ["m"]} | merge
    make = {"name": "make", "command": ["x"], "outputs": ["o"]}
    return {"schema": 1, "name": "x", "jobs": 10, "steps": [make, step]}


def test_a_block_is_read_carried_and_written_back() -> None:
    made = document.parse(written(per="block", jobs_per_task=4), None, "x")
    assert (made.tasks_of(1), made.tasks()) == (3, 13)
    assert document.parse(document.render(made), None, "x") == made
    assert spec.decode(spec.encode(made)) == made
    other = document.parse(written(per="block", jobs_per_task=5), None, "x")
    assert spec_hash(made, 1) != spec_hash(other, 1)
    assert spec_hash(made, 0) == spec_hash(other, 0)


def test_on_the_wire_only_a_block_has_a_size() -> None:
    wire = spec.to_wire(document.parse(written(per="block", jobs_per_task=4), None, "x"))
    del wire["steps"][1]["block_jobs"]
    with pytest.raises(shape.WrongShape):
        spec.from_wire(wire)
    assert b"block_jobs" not in spec.encode(document.parse(written(), None, "x"))


CHAIN = [
    {"name": "make", "command": ["x"]},
    {"name": "a", "command": ["x"], "per": "block", "jobs_per_task": 4, "needs": ["make"]},
]
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (written(per="block"), "steps[1]", "go together"),
    (written(jobs_per_task=4), "steps[1]", "go together"),
    (written(per="block", jobs_per_task=0), "steps[1].jobs_per_task", "1 to 65536"),
    (written(per="block", jobs_per_task=65_537), "steps[1].jobs_per_task", "1 to 65536"),
    (written(per="block", jobs_per_task=4, needs=[]), "steps[1].needs", "gathers"),
    (written(per="block", jobs_per_task=1) | {"jobs": 10**6}, "steps[1]", "number of blocks"),
    (written(per="block", jobs_per_task=4, outputs=["0/x"]), "steps[1].outputs", "folders"),
    (
        written() | {"steps": [*CHAIN, {**CHAIN[0], "name": "b", "needs": ["a"]}]},
        "steps[2]",
        "per job",
    ),
    (
        written()
        | {"steps": [*CHAIN, {**CHAIN[1], "name": "b", "needs": ["a"], "jobs_per_task": 5}]},
        "steps[2].needs[0]",
        "same jobs_per_task",
    ),
]


@pytest.mark.parametrize(("said", "where", "words"), REFUSED)
def test_what_blocks_cannot_do_is_refused(said: dict[str, Any], where: str, words: str) -> None:
    with pytest.raises(DatasetRefused) as caught:
        document.parse(said, None, "x")
    assert caught.value.where.startswith(f"x: {where}")
    assert words in caught.value.text()
