"""The spec hash changes exactly with what determines a step's output."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bundle import shape
from bundle.dataset import spec
from bundle.dataset.spec import (
    Command,
    Dataset,
    Generated,
    Input,
    Output,
    Per,
    Request,
    Step,
    Synthetic,
)
from bundle.dataset.spec_hash import spec_hash

MAKE = Step(
    "make",
    Command(("python3", "run.py", "$(x)")),
    files=("run.py",),
    generated=(Generated("g", 5, 1),),
    outputs=(Output("made"),),
    environment=(("A", "1"),),
)
SUM = Step("sum", Synthetic(1, 1, 1, (1,)), per=Per.DATASET, needs=(0,), outputs=(Output("sum"),))
SUM = replace(SUM, inputs=(Input(0, 0, "made"),))
BASE = Dataset(
    "base", 3, 1, (MAKE, SUM), parameters=(("x", "1"),), files=(("run.py", b"1"), ("other", b"1"))
)


def with_steps(make: Step = MAKE, total: Step = SUM) -> Dataset:
    return replace(BASE, steps=(make, total))


@pytest.mark.parametrize(
    "same",
    [
        with_steps(make=replace(MAKE, request=Request(memory_mib=1))),
        with_steps(make=replace(MAKE, failures_max=9)),
        with_steps(make=replace(MAKE, outputs=(Output("made", keep=True),))),
        with_steps(total=replace(SUM, outputs=(Output("else"),))),
        replace(BASE, description="new", name="new"),
        replace(BASE, jobs=10),
        replace(BASE, files=(("run.py", b"1"), ("other", b"2"))),
    ],
)
def test_what_does_not_change_the_output_does_not_change_the_hash(same: Dataset) -> None:
    assert spec_hash(same, 0) == spec_hash(BASE, 0)


@pytest.mark.parametrize(
    "other",
    [
        with_steps(make=replace(MAKE, run=Command(("python3", "run.py", "2")))),
        with_steps(make=replace(MAKE, environment=(("A", "2"),))),
        with_steps(make=replace(MAKE, outputs=(Output("made2"),))),
        with_steps(make=replace(MAKE, generated=(Generated("g", 5, 2),))),
        with_steps(make=replace(MAKE, per=Per.DATASET)),
        with_steps(make=replace(MAKE, run=Command(("python3", "run.py", "$(x)", "$(jobs)")))),
        replace(BASE, seed=2),
        replace(BASE, parameters=(("x", "2"),)),
        replace(BASE, files=(("run.py", b"2"), ("other", b"1"))),
    ],
)
def test_what_changes_the_output_changes_the_hash(other: Dataset) -> None:
    assert spec_hash(other, 0) != spec_hash(BASE, 0)


def test_a_fan_in_depends_on_how_many_jobs_there_are_and_on_its_inputs_names() -> None:
    assert spec_hash(replace(BASE, jobs=4), 1) != spec_hash(BASE, 1)
    renamed = replace(SUM, inputs=(Input(0, 0, "other"),))
    assert spec_hash(with_steps(total=renamed), 1) != spec_hash(BASE, 1)


def test_a_step_that_mentions_the_number_of_jobs_depends_on_it_through_parameters_too() -> None:
    indirect = replace(BASE, parameters=(("x", "$(jobs)"),))
    assert spec_hash(replace(indirect, jobs=4), 0) != spec_hash(indirect, 0)


@pytest.mark.parametrize("key", ["request", "inputs", "generated", "outputs"])
def test_a_wrong_number_of_fields_on_the_wire_is_a_wrong_shape(key: str) -> None:
    wire = spec.to_wire(BASE)
    step = wire["steps"][1 if key == "inputs" else 0]
    row = step[key] if key == "request" else step[key][0]
    row.append(1)
    with pytest.raises(shape.WrongShape, match=key):
        spec.from_wire(wire)
    del row[1:]
    with pytest.raises(shape.WrongShape, match=key):
        spec.from_wire(wire)
