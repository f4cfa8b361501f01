"""The life of a dataset over version 1: sizes, selections, dry runs, and what the trail says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.rest.world import Answer, Ask, World, opened

V = "/v1/datasets"
DOCUMENT = {
    "schema": 1,
    "name": "fed",
    "jobs": 2,
    "open": True,
    "steps": [
        {"name": "make", "command": ["true"], "outputs": ["x"]},
        {"name": "sum", "per": "dataset", "needs": ["make"], "command": ["true"]},
    ],
}
_KEYS = count()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A central with Anna and Bela."""
    with opened(tmp_path) as found:
        found.person("anna", "user", "nu")
        found.person("bela", "user")
        yield found


async def post(ask: Ask, who: str, path: str, body: Any, **headers: str) -> Answer:
    headers.setdefault("Idempotency_Key", f"key-{next(_KEYS)}")
    return await ask(who, "POST", path, body, **headers)


def test_a_dataset_starts_suspended_and_open_and_is_fed_and_closed(world: World) -> None:
    async def script(ask: Ask) -> None:
        made = (await post(ask, "anna", f"{V}?suspended=true", DOCUMENT)).json
        path = f"{V}/{made['id']}"
        about = (await ask("anna", "GET", path)).json
        assert (about["control"], about["open"], about["jobs"]) == ("suspended", True, 2)
        assert (await ask("anna", "GET", f"{path}/document")).json["open"] is True
        would = (await post(ask, "anna", f"{path}/size", {"more": 3, "dry_run": True})).json
        assert (would["dry_run"], would["jobs"]) == (True, 5)
        assert (await ask("anna", "GET", path)).json["jobs"] == 2
        fed = (await post(ask, "anna", f"{path}/size", {"more": 3})).json
        assert (fed["jobs"], fed["steps"], fed["dry_run"]) == (5, [1], False)
        await post(ask, "anna", f"{path}/size", {"open": False})
        about = (await ask("anna", "GET", path)).json
        assert (about["jobs"], about["tasks"], about["open"]) == (5, 6, False)
        trail = (await ask("anna", "GET", f"/v1/audit?resource={made['id']}")).json["audit"]
        assert [row["action"] for row in trail] == ["dataset.edit"] * 2 + ["dataset.submit"]
        assert trail[1]["detail"]["jobs_before"] == 2
        assert trail[2]["detail"]["suspended"] is True

    world.asking(script)


def test_a_size_may_be_guarded_and_is_refused_where_it_says_nothing(world: World) -> None:
    dataset = world.submit("anna", jobs=4)

    async def script(ask: Ask) -> None:
        path = f"{V}/{dataset}/size"
        for body in ({}, {"jobs": 0}, {"jobs": 2, "more": 1}, {"more": "1"}, {"color": 1}):
            refused = await post(ask, "anna", path, body)
            assert (refused.status, refused.code) == (400, "request-malformed"), body
        refused = await post(ask, "anna", path, {"jobs": 2}, If_Match='"stale"')
        assert refused.status == 412
        refused = await post(ask, "anna", path, {"jobs": 2**32, "more": None})
        assert refused.status in (200, 400)
        assert (await post(ask, "bela", path, {"jobs": 1})).status == 404

    world.asking(script)


def test_a_quota_of_tasks_bounds_what_is_extended(world: World) -> None:
    world.authority.save_user("anna", limits={"tasks_open": 20})
    dataset = world.submit("anna", jobs=4)  # 9 tasks

    async def script(ask: Ask) -> None:
        refused = await post(ask, "anna", f"{V}/{dataset}/size", {"more": 6})
        assert (refused.status, refused.code) == (413, "quota-exceeded")
        assert (await post(ask, "anna", f"{V}/{dataset}/size", {"more": 5})).json["jobs"] == 9
        assert (await post(ask, "anna", f"{V}/{dataset}/size", {"jobs": 1})).json["jobs"] == 1

    world.asking(script)


def test_tasks_are_selected_counted_first_and_then_controlled(world: World) -> None:
    dataset = world.submit("anna", jobs=6)

    async def script(ask: Ask) -> None:
        path = f"{V}/{dataset}/controls"
        ready = {"control": "cancel", "verdicts": ["ready"], "jobs": [[1, 2]]}
        would = (await post(ask, "anna", path, ready | {"dry_run": True})).json
        assert would == {"tasks": 2, "dry_run": True, "verdicts": {"ready": 2}}
        assert (await post(ask, "anna", path, ready)).json["tasks"] == 2
        counts = (await ask("anna", "GET", f"{V}/{dataset}/counts")).json["steps"]
        assert counts[0]["counts"] == {"ready": 4, "cancelled": 2}
        whole = (await post(ask, "anna", path, {"control": "suspend", "dry_run": True})).json
        assert whole["tasks"] == 13
        none = {"control": "reset", "fates": ["oom"], "site": "north", "soft": True}
        assert (await post(ask, "anna", path, none)).json["tasks"] == 0
        misspelt = await post(ask, "anna", path, none | {"site": "nroth", "dry_run": True})
        assert (misspelt.status, misspelt.code) == (404, "unknown-site")
        trail = (await ask("anna", "GET", f"/v1/audit?resource={dataset}")).json["audit"]
        assert trail[0]["detail"]["only"] == {"verdicts": ["ready"]}
        assert len(trail) == 2  # what was only counted, or fitted nothing, changed nothing
        for body in (
            {"control": "suspend", "soft": True},
            {"control": "reset", "verdicts": ["lost"]},
            {"control": "reset", "fates": ["boredom"]},
            {"control": "reset", "site": "No Such"},
        ):
            assert (await post(ask, "anna", path, body)).code == "request-malformed", body

    world.asking(script)
