"""Two sites that put out different files for one deterministic task are told of, not decided on."""

from __future__ import annotations

from dataclasses import replace

from bundle.dataset.spec import Command, Dataset, Output, Step
from tests.central.conftest import Central


def flat(*, deterministic: bool) -> Dataset:
    step = Step("run", Command(("/bin/true",)), outputs=(Output("x"),))
    return Dataset("flat", 3, 1, (replace(step, deterministic=deterministic),))


def run_twice(central: Central, dataset: Dataset) -> str:
    north, south = central.site("north"), central.site("south")
    made = central.submit(dataset)
    assert central.authority.absorb(north.report(1000)).outcome == "merged"
    (held,) = [one for one in north.fetch(central.authority) if one.leases]
    central.clock.pass_hours(49)
    central.authority.absorb(south.report(1000))
    (again,) = [one for one in south.fetch(central.authority) if one.leases]
    second = [south.play(again, lease, salt="other") for lease in again.leases]
    assert central.authority.absorb(south.result(second)).outcome == "merged"
    assert (
        central.authority.absorb(
            north.result([north.play(held, lease) for lease in held.leases])
        ).outcome
        == "merged"
    )
    assert central.counts(made)[0] == {"done": 3}
    central.fsck()
    return made


def test_different_files_of_a_deterministic_step_are_disputed(central: Central) -> None:
    dataset = run_twice(central, flat(deterministic=True))
    found = central.authority.disputes(dataset)  # type: ignore[arg-type]
    assert [one["task"] for one in found["disputes"]] == [f"{dataset}/{job}/0" for job in range(3)]
    for one in found["disputes"]:
        outcomes = {made["site"]: made["outcome"] for made in one["successes"]}
        assert set(outcomes) == {"north", "south"}
        assert len(set(outcomes.values())) == 2
        assert one["canonical"] in outcomes.values()


def test_nobody_disputes_what_was_never_said_to_be_deterministic(central: Central) -> None:
    dataset = run_twice(central, flat(deterministic=False))
    assert central.authority.disputes(dataset)["disputes"] == []  # type: ignore[arg-type]
