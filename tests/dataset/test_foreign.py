"""Needs of other datasets in documents: read, found by name, carried, hashed, written back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import shape
from bundle.dataset import spec
from bundle.dataset.foreign import Foreign, Which
from bundle.dataset.refusals import (
    DatasetRefused,
    DuplicateName,
    UnknownOutput,
    UnknownStep,
)
from bundle.dataset.spec import Command, Dataset, Per, Step
from bundle.dataset.spec_hash import spec_hash
from bundle.ids import DatasetId, LeaseId
from bundle.records import lease as leases
from bundle.records.foreign import ForeignPins, ForeignTask
from bundle.records.lease import Lease
from central import document
from central.document import Other

ONE, TWO = DatasetId("a" * 26), DatasetId("b" * 26)
KNOWN = {
    ONE: Other(ONE, {"make": ("out", "log"), "sum": ("total",)}),
    "made": Other(ONE, {"make": ("out", "log"), "sum": ("total",)}),
}
RUN = ["true"]


def find(given: str) -> Sequence[Other]:
    if given == "twice":
        return [KNOWN[ONE], Other(TWO, {})]
    return [KNOWN[given]] if given in KNOWN else []


def parsed(*steps: dict[str, Any], asks: bool = True) -> Dataset:
    written = {"schema": 1, "name": "x", "jobs": 3, "steps": list(steps)}
    return document.parse(written, None, "x", None, find if asks else None)


def reads(need: dict[str, str] | None = None, **said: object) -> dict[str, Any]:
    known = {"dataset": "made", "step": "make"}
    return {"name": "read", "command": RUN, "needs": [need or known], **said}


def test_a_name_becomes_an_id_and_all_outputs_are_read() -> None:
    made = parsed(reads())
    (need,) = made.steps[0].foreign
    assert need == Foreign(ONE, "make", Which.SAME, (("out", "out"), ("log", "log")))
    whole = parsed(reads(per="dataset"))
    assert whole.steps[0].foreign[0].which is Which.ALL
    assert parsed(reads(inputs=[])).steps[0].foreign[0].inputs == ()
    both = parsed(reads({"dataset": ONE, "step": "sum"}, inputs=[{
        "from": "sum:total", "dataset": "made", "as": "sub/in"}]))  # fmt: skip
    assert both.steps[0].foreign[0].inputs == (("total", "sub/in"),)


def test_what_central_shows_is_read_again_without_asking_anybody() -> None:
    made = parsed(
        {"name": "own", "command": RUN, "outputs": ["o"]},
        reads(needs=["own", {"dataset": "made", "step": "make", "jobs": "all"}]),
    )
    assert document.parse(document.render(made), None, "again") == made
    assert spec.decode(spec.encode(made)) == made


@pytest.mark.parametrize(
    ("step", "kind", "where", "words"),
    [
        (
            reads({"dataset": "maed", "step": "make"}),
            DatasetRefused,
            "needs[0].dataset",
            "may read",
        ),
        (reads({"dataset": "twice", "step": "make"}), DatasetRefused, "needs[0].dataset", TWO),
        (reads({"dataset": "made", "step": "mkae"}), UnknownStep, "needs[0]", "mean make"),
        (
            reads(inputs=[{"from": "make:ot", "dataset": "made"}]),
            UnknownOutput,
            "inputs[0]",
            "mean out",
        ),
        (
            reads(inputs=[{"from": "sum:total", "dataset": "made"}]),
            DatasetRefused,
            "inputs[0]",
            "not in needs",
        ),
        (reads(outputs=["out"]), DuplicateName, "outputs[0]", "needs[0]"),
        (
            reads(per="dataset", needs=[{"dataset": "made", "step": "make", "jobs": "same"}]),
            DatasetRefused,
            "needs[0].jobs",
            'jobs = "all"',
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    step: dict[str, Any], kind: type[DatasetRefused], where: str, words: str
) -> None:
    with pytest.raises(kind) as caught:
        parsed(step)
    assert f"steps[0].{where}" in caught.value.where
    assert words in caught.value.text().replace("foreign[0]", "needs[0]")


def test_who_can_ask_nobody_writes_ids_and_what_is_read() -> None:
    by_id = {"dataset": ONE, "step": "make"}
    with pytest.raises(DatasetRefused, match="nobody can be asked"):
        parsed(reads(), asks=False)
    with pytest.raises(DatasetRefused, match="list inputs"):
        parsed(reads(by_id), asks=False)
    read = [{"from": "make:out", "dataset": ONE}]
    assert parsed(reads(by_id, inputs=read), asks=False) == parsed(reads(inputs=read))


FILE = st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, 9))
STEP = Step("read", Command(("true",)))
PLAIN = Dataset("x", 3, 1, (STEP,))


@st.composite
def needs(draw: st.DrawFn) -> Foreign:
    names = draw(st.lists(st.sampled_from("abcd"), max_size=3, unique=True))
    one = draw(st.sampled_from([ONE, TWO]))
    which = draw(st.sampled_from(Which))
    return Foreign(one, draw(st.sampled_from(["s", "t"])), which, tuple((n, n) for n in names))


@given(st.lists(needs(), max_size=4, unique_by=lambda one: (one.dataset, one.step)))
def test_any_needs_travel_and_each_changes_the_hash(several: list[Foreign]) -> None:
    made = replace(PLAIN, steps=(replace(STEP, foreign=tuple(several)),))
    assert spec.decode(spec.encode(made)) == made
    assert (spec_hash(made, 0) == spec_hash(PLAIN, 0)) == (not several)
    assert (b"foreign" in spec.encode(made)) == bool(several)
    for at in range(len(several)):
        fewer = replace(STEP, foreign=(*several[:at], *several[at + 1 :]))
        assert spec_hash(replace(PLAIN, steps=(fewer,)), 0) != spec_hash(made, 0)


def test_a_wrong_form_on_the_wire_is_refused() -> None:
    wire = spec.to_wire(replace(PLAIN, steps=(replace(STEP, foreign=(Foreign(ONE, "s"),)),)))
    for wrong in ([], [[ONE, "s", "same"]], [[ONE, "s", "some", []]], [[ONE, "s", "all", [["a"]]]]):
        wire["steps"][0]["foreign"] = wrong
        with pytest.raises(shape.WrongShape):
            spec.from_wire(wire)


@given(
    st.lists(
        st.builds(
            ForeignPins,
            st.sampled_from([ONE, TWO]),
            st.sampled_from(["s", "t"]),
            st.integers(1, 2**32),
            st.just(("o", "p")),
            st.lists(
                st.builds(
                    ForeignTask,
                    st.integers(0, 99),
                    st.integers(0, 3),
                    st.text(max_size=9),
                    st.tuples(FILE, FILE),
                ),
                max_size=3,
            ).map(tuple),
        ),
        max_size=3,
    )
)  # fmt: skip
def test_a_lease_tells_them_and_is_as_before_without(pins: list[ForeignPins]) -> None:
    lease = Lease(LeaseId(bytes(16)), ONE, bytes(32), 0, (), (), (), (), (), (), 0)
    told = replace(lease, foreign=tuple(pins))
    assert leases.decode(leases.encode(told)) == told
    assert (b"foreign" in leases.encode(told)) == bool(pins)


def test_a_step_over_several_jobs_keeps_their_folders_free() -> None:
    need = Foreign(ONE, "s", Which.ALL, (("o", "in"),))
    step = replace(STEP, per=Per.DATASET, foreign=(need,), files=("7",))
    written = replace(PLAIN, steps=(step,), files=(("7", b""),))
    with pytest.raises(DuplicateName, match="folders of the jobs"):
        document.parse(document.render(written), None, "x")
