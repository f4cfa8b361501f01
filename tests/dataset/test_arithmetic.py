"""Arithmetic in macros has a value in every job, or is refused before any job runs."""

from __future__ import annotations

from itertools import accumulate
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.dataset import macros, spec_hash
from bundle.dataset.refusals import BadArithmetic, DatasetRefused, UnresolvedMacro
from bundle.dataset.spec import Command, Dataset, Step

PARAMETERS = {"n": "7", "half": "0.5", "low": "run-$(job)", "high": "$(low)!", "moving": "$(job)"}


def dataset_of(text: str, jobs: int = 5) -> Dataset:
    step = Step("only", Command(("run", text)))
    return Dataset("sums", jobs, 9, (step,), parameters=tuple(sorted(PARAMETERS.items())))


def expanded(text: str, job: int = 1234) -> str:
    dataset = dataset_of(text)
    macros.check(dataset)
    return macros.expand(text, dataset, 0, job)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("$(=job*2+1)", "2469"),
        ("$(=job // 1000 * 1000:07d)-$(=job//1000*1000+999:07d)", "0001000-0001999"),
        ("$(=(job+n)*(2+(3*(4-1))))", "13651"),
        ("$(=-2**2)$(=2**3)", "-48"),
        ("$(=job/4)", "308.5"),
        ("$(=job*half:.2f)", "617.00"),
        ("$(=1e3+jobs)", "1005.0"),
        ("$(=job%16:x)$(=job:+d)", "2+1234"),
        ("$(=job?low high)", "run-1234"),
        ("$(=job+1?low high)", "run-1234!"),
        ("$$(=job)", "$(=job)"),
        ("a$(=n)b$(=n)", "a7b7"),
    ],
)
def test_expressions_mean_what_they_mean_in_python(text: str, meant: str) -> None:
    assert expanded(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        *("$(=100/job)", "$(=1%(job+1))", "$(=2**job)", "$(=1/0)", "$(=job*)", "$(=)", "$(=nn+1)"),
        *("$(=job:s)", "$(=job/2:x)", "$(=job/2?low high)", "$(=job?)", "$(=low+1)", "$(=job**9)"),
        *("$(=100/moving)", "$(=2**300)", f"$(={'(' * 60}1{')' * 60})", "$(=job 1)"),
    ],
)
def test_what_has_no_value_in_some_job_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(BadArithmetic) as caught:
        macros.check(dataset_of(text))
    assert caught.value.where == "steps[0].command[1]"


@pytest.mark.parametrize("text", ["$(=(job)", "$(=$(job))", "$(=job?low hihg)"])
def test_what_is_not_closed_or_names_nothing_is_unresolved(text: str) -> None:
    with pytest.raises(UnresolvedMacro):
        macros.check(dataset_of(text))


def test_a_step_that_counts_with_the_number_of_jobs_depends_on_it() -> None:
    def hashes(text: str) -> set[bytes]:
        return {spec_hash.spec_hash(dataset_of(text, jobs), 0) for jobs in (5, 6)}

    assert len(hashes("$(=jobs*2)")) == 2
    assert len(hashes("$(=job*2)")) == 1


SUMS = st.recursive(
    st.sampled_from(["job", "seed", "jobs", "n", "half", "0", "3", "2.5", "1e9"]),
    lambda inner: st.tuples(
        inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]), inner
    ).map(lambda one: f"({one[0]}{one[1]}{one[2]})"),
    max_leaves=8,
)


@given(SUMS | st.text(alphabet="job0.e+-*/%()? :d", max_size=12), st.integers(0, 2**32 - 1))
def test_what_is_accepted_has_a_value_in_every_job(expression: str, job: int) -> None:
    text = f"$(={expression})"
    dataset = dataset_of(text)
    try:
        macros.check(dataset)
    except DatasetRefused:
        return
    found = macros.expand(text, dataset, 0, job)
    if not set("?:").intersection(expression) and "$" not in found and is_closed(expression):
        assert isfinite(float(found))


def is_closed(expression: str) -> bool:
    """Whether no parenthesis ends the macro before its text does."""
    depths = accumulate({"(": 1, ")": -1}.get(one, 0) for one in expression)
    return min(depths, default=0) >= 0
