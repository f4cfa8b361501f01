"""Documents that name other datasets, over version 1: found by who may read them, or not there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.rest.world import Answer, Ask, World, opened

V = "/v1/datasets"
MADE = {
    "schema": 1,
    "name": "measured",
    "jobs": 3,
    "steps": [{"name": "measure", "command": ["true"], "outputs": ["m"]}],
}
_KEYS = count()


def reads(dataset: str = "measured", **said: object) -> dict[str, Any]:
    step = {"name": "read", "command": ["true"], "needs": [{"dataset": dataset, "step": "measure"}]}
    return {"schema": 1, "name": "analysis", "jobs": 3, "steps": [step | said]}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A central with Anna and Bela."""
    with opened(tmp_path) as found:
        found.person("anna", "user", "nu")
        found.person("bela", "user")
        yield found


async def submit(ask: Ask, who: str, body: Any, path: str = V) -> Answer:
    return await ask(who, "POST", path, body, Idempotency_Key=f"key-{next(_KEYS)}")


def test_a_name_is_looked_up_among_what_one_may_read(world: World) -> None:
    async def script(ask: Ask) -> None:
        first = (await submit(ask, "anna", MADE)).json["id"]
        mine = (await submit(ask, "anna", reads())).json["id"]
        written = (await ask("anna", "GET", f"{V}/{mine}/document")).json["steps"][0]
        assert written["needs"] == [{"dataset": first, "step": "measure", "jobs": "same"}]
        assert written["inputs"] == [{"from": "measure:m", "as": "m", "dataset": first}]
        (need,) = (await ask("anna", "GET", f"{V}/{mine}/needs")).json["needs"]
        assert (need["name"], need["done"], need["tasks"]) == ("measured", 0, 3)
        why = (await ask("anna", "GET", f"{V}/{mine}/tasks/2/0/why")).json
        assert why["reason"] == "other-dataset"
        assert f"{first}/2/0" in why["because"][0]["has"]

    world.asking(script)


def test_what_is_hidden_is_told_as_what_is_not_there(world: World) -> None:
    async def script(ask: Ask) -> None:
        first = (await submit(ask, "anna", MADE)).json["id"]
        nothing = "c" * 26
        for given in ("measured", "nowhere", first, nothing):
            refused = await submit(ask, "bela", reads(given))
            assert (refused.status, refused.code) == (400, "dataset-refused"), refused
            assert f"there is no dataset {given} that you may read" in refused.json["detail"]
        await ask("anna", "PATCH", f"{V}/{first}/access", {"visibility": "public"})
        hers = (await submit(ask, "bela", reads())).json["id"]
        await ask("anna", "PATCH", f"{V}/{first}/access", {"visibility": "private"})
        (need,) = (await ask("bela", "GET", f"{V}/{hers}/needs")).json["needs"]
        assert (need["state"], need["name"], need["done"]) == ("hidden", None, None)
        assert need["dataset"] == first
        why = await ask("bela", "GET", f"{V}/{hers}/tasks/2/0/why")
        assert "which you may not read" in why.json["because"][0]["text"]
        assert "measured" not in str(why.json)
        same = reads(first, inputs=[{"from": "measure:m", "dataset": first}])
        again = await submit(ask, "bela", same, f"{V}/{hers}/document")
        assert again.status == 200, "what it needs already is not asked about again"
        wider = reads(first, inputs=[{"from": "measure:m", "dataset": first, "as": "other"}])
        assert (await submit(ask, "bela", wider, f"{V}/{hers}/document")).status == 400

    world.asking(script)


def test_an_ambiguous_name_and_a_wrong_step_are_refused(world: World) -> None:
    async def script(ask: Ask) -> None:
        first = (await submit(ask, "anna", MADE)).json["id"]
        refused = await submit(ask, "anna", reads(needs=[{"dataset": first, "step": "mesure"}]))
        assert refused.code == "unknown-step"
        assert "did you mean measure" in str(refused.json)
        await submit(ask, "anna", MADE | {"seed": 2})
        refused = await submit(ask, "anna", reads())
        assert refused.code == "dataset-refused"
        assert "2 datasets are named 'measured'" in refused.json["detail"]
        fewer = reads(first) | {"jobs": 4}
        assert "has 3 jobs, this one 4" in (await submit(ask, "anna", fewer)).json["detail"]

    world.asking(script)
