"""Grids, lists over jobs, iterations and scripts: what jobs get, and how little is written down."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.dataset import macros, spec
from bundle.dataset.refusals import DatasetRefused
from bundle.dataset.spec import Command, Dataset, Input
from bundle.dataset.spec_hash import spec_hash
from central import document


def made(**said: Any) -> Dataset:
    steps = [{"name": "s", "command": ["run"], "outputs": ["o"]}]
    return document.parse({"schema": 1, "name": "x", "steps": steps} | said, None, "x")


def at(dataset: Dataset, name: str, job: int) -> str:
    return macros.expand(f"$({name})", dataset, 0, job)


NAMES = st.lists(st.sampled_from(["energy", "angle", "ice", "B_field"]), unique=True, max_size=3)


@given(st.data())
def test_jobs_are_the_product_the_last_axis_fastest(data: st.DataObject) -> None:
    names = data.draw(NAMES)
    grid: dict[str, Any] = {}
    values: dict[str, list[str]] = {}
    for name in names:
        if data.draw(st.booleans()):
            values[name] = data.draw(
                st.lists(st.text("abc ,?@$é", min_size=1), min_size=1, max_size=4)
            )
            grid[name] = values[name]
        else:
            first, step = data.draw(st.integers(-9, 9)), data.draw(st.sampled_from([-3, 1, 2]))
            count = data.draw(st.integers(1, 4))
            grid[name] = {"from": first, "to": first + step * (count - 1), "step": step}
            values[name] = [str(first + step * n) for n in range(count)]
    files = data.draw(st.lists(st.sampled_from(["a.i3", "b.i3"]), min_size=1, max_size=3))
    times = data.draw(st.integers(1, 3))
    points = list(itertools.product(files, *(values[name] for name in names)))
    said: dict[str, Any] = {"grid": grid, "each": {"input": files}}
    if times > 1:
        said["jobs"] = times * len(points)
    dataset = made(**said)
    assert dataset.jobs == times * len(points)
    for job in range(dataset.jobs):
        found = tuple(at(dataset, name, job) for name in ("input", *names))
        assert found == points[job % len(points)]
    assert document.parse(document.render(dataset), None, "x") == dataset
    assert spec.decode(spec.encode(dataset)) == dataset


def test_decimals_are_written_as_they_are_meant() -> None:
    dataset = made(grid={"x": {"from": 0.1, "to": 0.75, "step": 0.1}})
    expected = ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7"]
    assert [at(dataset, "x", job) for job in range(dataset.jobs)] == expected
    down = made(grid={"x": {"from": 1, "to": -1, "step": -0.5}})
    assert [at(down, "x", job) for job in range(5)] == ["1.0", "0.5", "0.0", "-0.5", "-1.0"]


def test_a_hundred_million_points_are_a_few_hundred_bytes() -> None:
    axis = {"from": 0, "to": 9999}
    dataset = made(grid={"x": axis, "y": axis})
    assert dataset.jobs == 10**8
    assert len(spec.encode(dataset)) < 1000
    assert (at(dataset, "x", 98_765_432), at(dataset, "y", 98_765_432)) == ("9876", "5432")


def test_a_list_may_be_a_file_with_one_in_each_line(tmp_path: Path) -> None:
    (tmp_path / "inputs.txt").write_text("\ufeffa b.i3\n\n$HOME.i3\nc.i3")
    text = "schema: 1\nname: x\neach: {input: {lines: inputs.txt}}\nsteps:\n"
    file = tmp_path / "x.yaml"
    file.write_text(text + '  - {name: s, command: [run, "$(input)"]}\n')
    dataset = document.load(file)
    assert [at(dataset, "input", job) for job in range(dataset.jobs)] == [
        "a b.i3",
        "$HOME.i3",
        "c.i3",
    ]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"grid": {"x": []}}, "no entries"),
    ({"grid": {"x": [True]}}, "string"),
    ({"grid": {"job": [1]}}, "built-in"),
    ({"grid": {"x": [1]}, "parameters": {"x": 2}}, "parameters.x"),
    ({"grid": {"x": [1]}, "each": {"x": [1]}}, "taken by"),
    ({"grid": {"x": [1]}, "lists": {"x": [1]}}, "axis of grid or each"),
    ({"grid": {"x": ["$(job)"]}}, "hold no macros"),
    ({"grid": {"x": {"from": 0, "to": 1, "step": 0}}}, "no steps"),
    ({"grid": {"x": {"from": 0}}}, "from, to, step"),
    ({"grid": {"x": {"from": 0, "to": float("inf")}}}, "not finite"),
    ({"grid": {"x": {"from": 0, "to": 2**40}}}, "number of jobs"),
    ({"grid": {"a b": [1]}}, "letters, digits"),
    ({"each": {"x": {"lines": "../../etc/passwd"}}}, "without a folder"),
    ({"jobs": 1, "parameters": {"x": "$(=job?@y)"}}, "define it under [lists]"),
]


@pytest.mark.parametrize(("said", "words"), WRONG)
def test_what_cannot_be_meant_is_refused(said: dict[str, Any], words: str) -> None:
    with pytest.raises(DatasetRefused) as caught:
        made(**said)
    assert words in caught.value.text()


def test_lists_count_for_the_spec_hash_and_only_where_there_are_some() -> None:
    plain = made(jobs=2)
    assert b"lists" not in spec.encode(plain)
    one, other = made(grid={"x": [1, 2]}), made(grid={"x": [1, 3]})
    assert spec_hash(one, 0) != spec_hash(other, 0)


def iterated(**said: Any) -> Dataset:
    steps = [
        {"name": "s", "command": ["run", "$(iteration)"], "outputs": ["o"], "iterations": 3},
        {"name": "all", "command": ["sum"], "needs": ["s"], "outputs": ["a"]},
        {"name": "one", "command": ["sum"], "needs": ["s-1"], "inputs": ["s-1:o"]},
    ]
    return made(jobs=2, steps=steps, **said)


def test_iterations_are_steps_and_their_name_means_all_of_them() -> None:
    dataset = iterated()
    assert [step.name for step in dataset.steps] == ["s-0", "s-1", "s-2", "all", "one"]
    assert dataset.steps[3].needs == (0, 1, 2)
    assert dataset.steps[3].inputs == tuple(Input(n, 0, f"{n}/o") for n in range(3))
    assert dataset.steps[4].inputs == (Input(1, 0, "o"),)
    assert [macros.expand("$(=iteration * 10)", dataset, n, 1) for n in range(3)] == [
        "0",
        "10",
        "20",
    ]
    assert len({spec_hash(dataset, n) for n in range(3)}) == 3
    assert document.parse(document.render(dataset), None, "x") == dataset
    assert spec.decode(spec.encode(dataset)) == dataset


def test_where_nothing_is_iterated_there_is_no_iteration() -> None:
    with pytest.raises(DatasetRefused, match="names no macro"):
        made(jobs=1, parameters={"x": "$(iteration)"})
    with pytest.raises(DatasetRefused, match="built-in"):
        iterated(parameters={"iteration": "5"})


def test_too_many_iterations_are_refused_before_they_are_made() -> None:
    steps = [{"name": f"s{n}", "command": ["x"], "iterations": 65_536} for n in range(50)]
    with pytest.raises(DatasetRefused, match="number of steps with iterations"):
        made(jobs=1, steps=steps)


def test_a_script_travels_as_a_file_that_its_first_line_runs() -> None:
    script = "#!/usr/bin/env python3\nprint('$(job) is no macro here')\n"
    steps = [{"name": "s", "script": script, "arguments": ["$(job)"], "outputs": ["o"]}]
    dataset = made(jobs=2, steps=steps)
    step = dataset.steps[0]
    assert step.run == Command(("/usr/bin/env", "python3", "s.script", "$(job)"))
    assert step.files == ("s.script",)
    assert dict(dataset.files) == {"s.script": script.encode()}
    assert document.parse_text(json.dumps(document.render(dataset)), None, "x.json") == dataset
    plain = made(jobs=1, steps=[{"name": "s", "script": "true"}])
    assert plain.steps[0].run == Command(("/bin/sh", "s.script"))
