"""`pulk dataset check --sites`: where a dataset fits, by what a real central lists of its sites."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from bundle.dataset.asks import Account, Requires
from bundle.dataset.foreign import Foreign, Which
from bundle.dataset.spec import Command, Dataset, Request, Step
from bundle.ids import DatasetId
from central.cli import foretold
from central.views import Views
from tests.central.conftest import Central
from tests.central.test_why import ROOMY, tell

SMALL = replace(ROOMY, cpu_milli=2000, gpus=(), software=())
STEPS = (
    Step("make", Command(("make", "$(job)")), request=Request(cpu_milli=8000)),
    Step("fit", Command(("fit",)), requires=Requires(software=("icetray/1.8",))),
)


def listed(central: Central) -> list[dict[str, Any]]:
    """What the list of sites says, as it crosses the border."""
    sites = Views(central.authority._w).sites()
    found: list[dict[str, Any]] = json.loads(json.dumps(sites, default=str))
    return found


def test_each_site_is_told_with_the_first_reason_of_each_step(central: Central) -> None:
    tell(central, central.site("north"), site=ROOMY)
    tell(central, central.site("south"), site=SMALL)
    central.site("west")
    dataset = Dataset("x", 5, 1, STEPS)
    found = {one["site"]: one for one in foretold.fits(dataset, listed(central))}
    assert (found["north"]["fits"], found["south"]["fits"]) == (True, False)
    assert [one["step"] for one in found["south"]["not"]] == ["make", "fit"]
    assert "8 cores" in found["south"]["not"][0]["why"]
    assert not found["west"]["told"]
    said = foretold.words(foretold.about(dataset) | {"sites": list(found.values())})
    assert "at north: all of it may run" in said
    assert "at south: not make: it asks for 8 cores" in said
    assert "at west: it did not tell" in said


def test_a_site_that_the_document_denies_is_told_with_that_reason_alone(central: Central) -> None:
    tell(central, central.site("south"), site=SMALL)
    dataset = Dataset("x", 5, 1, STEPS, account=Account(deny=("south",)))
    (found,) = foretold.fits(dataset, listed(central))
    assert [one["step"] for one in found["not"]] == [""]


def test_what_is_needed_of_other_datasets_is_told() -> None:
    name = DatasetId("b" * 26)
    same = Foreign(name, "measure", Which.SAME, (("m", "in"),))
    every = Foreign(name, "count", Which.ALL, (("c", "raw"),))
    step = Step("read", Command(("read",)), foreign=(same, every))
    said = foretold.about(Dataset("x", 5, 1, (step,)))
    assert [one["jobs"] for one in said["steps"][0]["foreign"]] == ["same", "all"]
    words = foretold.words(said)
    assert f"the task of the same job of step measure of dataset {name} to be done" in words
    assert "and reads c as TASK/raw" in words
