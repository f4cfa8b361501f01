"""Lists, pages, fields, ETags, lines, sums and events, over HTTP and out of a real store."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.dataset import spec
from bundle.fates import Fate
from central import document
from central.core.facts import ControlWord
from central.http.errors import RequestMalformed
from central.http.listing import page
from central.http.queries import Sorted
from central.provenance import iso
from tests.central.conftest import chain
from tests.central.scripted_site import ScriptedSite
from tests.rest.world import Ask, World, opened

V = "/v1/datasets"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with opened(tmp_path) as made:
        made.person("anna", "user")
        yield made


def worked(world: World, tmp_path: Path, jobs: int = 6) -> str:
    """Submit a dataset and let a site run it; the first job's first task fails for good."""
    dataset = world.submit("admin", jobs)
    site = ScriptedSite("south", tmp_path / "south", world.authority)

    def fate(place: tuple[int, int], _: int) -> Fate:
        return Fate.PAYLOAD_ERROR if place == (0, 0) else Fate.SUCCESS

    for _ in range(3):
        site.work_all(world.authority, fate=fate)
    return dataset


def test_pages_follow_each_other_whatever_they_are_sorted_by(world: World) -> None:
    made = {world.submit("admin", jobs) for jobs in (3, 1, 2, 1, 5)}

    async def script(ask: Ask) -> None:
        for sort in ("submitted", "-submitted", "jobs", "-jobs", "owner", "id", "-name"):
            rows: list[dict[str, Any]] = []
            path = f"{V}?limit=2&sort={sort}"
            answer = await ask("admin", "GET", path)
            while True:
                assert answer.status == 200, answer.body
                rows += answer.json["datasets"]
                if answer.json["next"] is None:
                    break
                answer = await ask("admin", "GET", f"{path}&cursor={answer.json['next']}")
            name = sort.removeprefix("-")
            values = [row[name] for row in rows]
            assert values == sorted(values, reverse=sort.startswith("-"))
            assert len(rows) == 5 and {row["id"] for row in rows} == made

    world.asking(script)


@pytest.mark.parametrize(
    ("path", "key", "of"),
    [
        (f"{V}?limit=2&sort=name", "datasets", "id"),
        (f"{V}?limit=2&sort=-submitted", "datasets", "id"),
        ("/v1/bundles?limit=2", "bundles", "id"),
        ("/v1/audit?limit=2", "audit", "no"),
        ("/v1/users?limit=2", "users", "name"),
        ("/v1/tokens?limit=2", "tokens", "no"),
    ],
)
def test_what_comes_between_pages_neither_repeats_nor_hides_a_row(
    world: World, path: str, key: str, of: str
) -> None:
    for number in range(6):
        world.person(f"m{number}", "user")
        world.submit(f"m{number}")

    async def script(ask: Ask) -> None:
        whole = await ask("admin", "GET", path.replace("limit=2", "limit=1000"))
        before = [row[of] for row in whole.json[key]]
        found, more = [], ""
        for number in range(100):
            answer = (await ask("admin", "GET", f"{path}{more}")).json
            found += [row[of] for row in answer[key]]
            if answer["next"] is None:
                break
            more = f"&cursor={answer['next']}"
            await asyncio.to_thread(world.person, f"{'az'[number % 2]}{number}", "user")
            await asyncio.to_thread(world.submit, f"{'az'[number % 2]}{number}")
        assert len(set(found)) == len(found)
        assert [one for one in found if one in set(before)] == before

    world.asking(script)


@given(
    st.lists(
        st.tuples(st.none() | st.integers(0, 3), st.integers(0, 99)), unique_by=lambda r: r[1]
    ),
    st.integers(1, 4),
    st.booleans(),
)
def test_no_page_repeats_or_hides_a_row(
    rows: list[tuple[int | None, int]], limit: int, turned: bool
) -> None:
    every = [{"id": f"{number:02}", "value": value} for value, number in rows]
    sort, cursor, found = "-value" if turned else "value", None, []
    for _ in range(len(every) + 1):
        query = Sorted(limit=limit, sort=sort, cursor=cursor)
        got = page(every, query, key="rows", of="id", sortable={"value"}, first="value")
        found += got["rows"]
        cursor = got["next"]
        if cursor is None:
            break
    assert cursor is None
    assert sorted(row["id"] for row in found) == sorted(row["id"] for row in every)


@pytest.mark.parametrize("cursor", ["AAAA", "e30", "WzFd", "W251bGxd", "_" * 512])
def test_a_cursor_that_no_page_gave_is_refused(cursor: str) -> None:
    query = Sorted(cursor=cursor)
    with pytest.raises(RequestMalformed, match="cursor"):
        page([{"id": "a", "n": 1}], query, key="rows", of="id", sortable={"n"}, first="n")


def test_fields_are_chosen_and_unknown_ones_named(world: World) -> None:
    dataset = world.submit("admin")

    async def script(ask: Ask) -> None:
        (row,) = (await ask("admin", "GET", f"{V}?fields=name,owner")).json["datasets"]
        assert row == {"name": "chain", "owner": "admin"}
        one = await ask("admin", "GET", f"{V}/{dataset}?fields=control,id")
        assert one.json == {"control": "", "id": dataset}
        for path in (f"{V}?fields=name,color", f"{V}/{dataset}?fields=color", f"{V}?sort=color"):
            refused = await ask("admin", "GET", path)
            assert (refused.status, refused.code) == (400, "request-malformed")
        assert (await ask("admin", "GET", f"{V}?colour=red")).json["where"] == "query.colour"
        assert (await ask("admin", "GET", f"{V}?limit=1&limit=2")).status == 400

    world.asking(script)


def test_an_etag_says_that_nothing_changed_and_guards_a_change(world: World) -> None:
    dataset = world.submit("anna")
    path = f"{V}/{dataset}"
    suspend = {"control": "suspend"}

    async def script(ask: Ask) -> None:
        first = await ask("anna", "GET", path)
        etag = first.headers["ETag"]
        same = await ask("anna", "GET", path, If_None_Match=f'"other", W/{etag}')
        assert (same.status, same.body, same.headers["ETag"]) == (304, b"", etag)
        key = {"Idempotency_Key": "one", "If_Match": etag}
        assert (await ask("anna", "POST", f"{path}/controls", suspend, **key)).status == 200
        # repeated: it was done, whatever the ETag is now
        assert (await ask("anna", "POST", f"{path}/controls", suspend, **key)).status == 200
        stale = {"Idempotency_Key": "two", "If_Match": etag}
        refused = await ask("anna", "POST", f"{path}/controls", {"control": "resume"}, **stale)
        assert (refused.status, refused.code) == (412, "changed-meanwhile")
        refused = await ask(
            "anna", "PATCH", f"{path}/access", {"visibility": "public"}, If_Match=etag
        )
        assert refused.status == 412
        after = await ask("anna", "GET", path, If_None_Match=etag)
        assert (after.status, after.json["control"]) == (200, "suspended")
        shared = await ask(
            "anna", "PATCH", f"{path}/access", {"visibility": "public"},
            If_Match=after.headers["ETag"],
        )  # fmt: skip
        assert shared.json["visibility"] == "public"

    world.asking(script)


def test_a_document_is_submitted_as_people_write_it_and_read_back(world: World) -> None:
    written = document.render(chain(4))

    async def script(ask: Ask) -> None:
        key = {"Idempotency_Key": "k"}
        made = await ask("anna", "POST", V, written, **key)
        assert made.status == 200, made.body
        raw = spec.encode(document.parse(written, None, "here"))
        assert made.json["digest"] == spec.dataset_digest(raw).hex()
        again = await ask("anna", "POST", V, written, **key)
        assert again.json == made.json
        other = await ask("anna", "POST", V, written | {"jobs": 5}, **key)
        assert (other.status, other.code) == (409, "idempotency-conflict")
        path = f"{V}/{made.json['id']}/document"
        assert (await ask("anna", "GET", path)).json == document.render(chain(4))
        assert (await ask("anna", "GET", path, Accept="application/msgpack")).body == raw
        for bad in (b"[]", b"\xff", b"{", b'{"schema": 1}', b"name = 1"):
            refused = await ask("anna", "POST", V, bad, Content_Type="application/json", **key)
            assert refused.status == 400, bad
        refused = await ask("anna", "POST", V, b"x", Content_Type="text/plain", **key)
        assert refused.status == 415

    world.asking(script)


def test_tasks_and_jobs_are_listed_by_verdict_in_pages_and_lines(
    world: World, tmp_path: Path
) -> None:
    dataset = worked(world, tmp_path)
    counted = world.authority.counts(dataset)["steps"]  # type: ignore[arg-type]

    async def script(ask: Ask) -> None:
        async def every(query: str) -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = []
            path = f"{V}/{dataset}/tasks?limit=2&{query}"
            more = ""
            while True:
                answer = await ask("admin", "GET", path + more)
                rows += answer.json["tasks"]
                if answer.json["next"] is None:
                    return rows
                more = f"&cursor={answer.json['next']}"

        rows = await every("")
        assert [(row["step"], row["job"]) for row in rows] == sorted(
            (step["step"], job) for step in counted for job in range(step["tasks"])
        )
        for step in counted:
            for verdict, count in step["counts"].items():
                got = await every(f"step={step['step']}&verdict={verdict}")
                assert len(got) == count, (step, verdict)
                assert got == [
                    r for r in rows if (r["step"], r["verdict"]) == (step["step"], verdict)
                ]
        assert (await every("verdict=failed")) == [
            {"job": 0, "step": 0, "verdict": "failed", "failures": 2}
        ]
        assert [row["job"] for row in await every("step=0&first=2&last=4")] == [2, 3, 4]
        lines = await ask("admin", "GET", f"{V}/{dataset}/tasks", Accept="application/x-ndjson")
        assert lines.headers["Content-Type"] == "application/x-ndjson"
        assert [json.loads(one) for one in lines.body.splitlines()] == rows
        attempts = await ask(
            "admin", "GET", f"{V}/{dataset}/attempts?fate=payload-error",
            Accept="application/x-ndjson",
        )  # fmt: skip
        found = [json.loads(one) for one in attempts.body.splitlines()]
        assert [(one["job"], one["fate"]) for one in found] == [(0, "payload-error")] * 2
        jobs = (await ask("admin", "GET", f"{V}/{dataset}/jobs")).json["jobs"]
        assert [one["state"] for one in jobs] == ["failed"] + ["done"] * 5
        assert jobs[0]["verdicts"]["generate"] == "failed"
        got = await ask("admin", "GET", f"{V}/{dataset}/jobs?state=done&limit=3")
        assert [one["job"] for one in got.json["jobs"]] == [1, 2, 3]

    world.asking(script)


def test_sums_by_groups_agree_with_counts_and_attempts(world: World, tmp_path: Path) -> None:
    dataset = worked(world, tmp_path)
    world.submit("anna", 2)
    counted = world.authority.counts(dataset)["steps"]  # type: ignore[arg-type]
    attempts = world.authority.attempts(
        dataset,
        step=None,
        job=None,
        fate=None,
        limit=1000,
        after=None,  # type: ignore[arg-type]
    )["attempts"]

    async def script(ask: Ask) -> None:
        got = (await ask("admin", "GET", "/v1/aggregates?by=owner")).json["groups"]
        assert [one["owner"] for one in got] == ["admin", "anna"]
        assert got[0]["done"] == sum(step["counts"].get("done", 0) for step in counted)
        assert got[0]["attempts"] == len(attempts)
        assert got[1]["tasks"] == chain(2).tasks()
        (own,) = (await ask("anna", "GET", "/v1/aggregates?by=dataset,owner")).json["groups"]
        assert own["owner"] == "anna"
        path = f"{V}/{dataset}/aggregates?by=step,fate&percentiles=50,99"
        answer = await ask("admin", "GET", path)
        groups = answer.json["groups"]
        assert answer.json["complete"] and sum(one["attempts"] for one in groups) == len(attempts)
        for one in groups:
            its = [
                row["wall_ms"]
                for row in attempts
                if (row["step"], row["fate"]) == (one["step"], one["fate"])
            ]
            assert len(its) == one["attempts"]
            assert one["wall_ms"]["max"] == max(its)
            assert one["wall_ms"]["p50"] == sorted(its)[(len(its) - 1) // 2]
        every = "software,signal,exit_code,day,node,site,fate,step"
        finest = (await ask("admin", "GET", f"{V}/{dataset}/aggregates?by={every}")).json["groups"]
        assert sum(one["attempts"] for one in finest) == len(attempts)
        detailed = f"{V}/{dataset}/attempts?detail=true&limit=1000"
        rows = (await ask("admin", "GET", detailed)).json["attempts"]
        known = Counter(
            (row["host"]["name"], row["exit_code"], row["started"][:10], row["fate"])
            for row in rows
        )
        found: Counter[tuple[str, int, str, str]] = Counter()
        for one in finest:
            key = (one["node"], one["exit_code"], one["day"], one["fate"])
            found[key] += one["attempts"]
        assert found == known
        for wrong in ("nope", "step,", "", "step,wall_ms"):
            refused = await ask("admin", "GET", f"{V}/{dataset}/aggregates?by={wrong}")
            assert refused.status == 400, wrong

    world.asking(script)


def test_bundles_are_listed_the_newest_first(world: World, tmp_path: Path) -> None:
    worked(world, tmp_path)
    world.person("sitter", "site")

    async def script(ask: Ask) -> None:
        rows = (await ask("admin", "GET", "/v1/bundles?limit=1000")).json["bundles"]
        assert [one["no"] for one in rows] == sorted((one["no"] for one in rows), reverse=True)
        results = (await ask("admin", "GET", "/v1/bundles?kind=result&site=south")).json["bundles"]
        assert results and {one["producer"] for one in results} == {"south"}
        first = (await ask("admin", "GET", "/v1/bundles?limit=2")).json
        second = await ask("admin", "GET", f"/v1/bundles?limit=2&cursor={first['next']}")
        assert first["bundles"] + second.json["bundles"] == rows[:4]
        assert (await ask("sitter", "GET", "/v1/bundles")).json["bundles"] == []
        assert (await ask("sitter", "GET", "/v1/bundles?site=south")).status == 403

    world.asking(script)


def test_an_event_comes_for_what_changed_and_for_nothing_else(world: World) -> None:
    first, hidden = world.submit("anna"), world.submit("admin")

    async def script(ask: Ask) -> None:
        head = world.authorization("anna", "GET", "/v1/events")
        async with ask._client.get("/v1/events", headers=head) as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"

            async def event() -> dict[str, Any]:
                while True:
                    line = await asyncio.wait_for(answer.content.readline(), 20)
                    if line.startswith(b"data: "):
                        return dict(json.loads(line.removeprefix(b"data: ")))

            assert (await event())["dataset"] == first
            second = await asyncio.to_thread(world.submit, "anna")
            assert (await event())["dataset"] == second
            key = {"idempotency_key": "k", "token_id": 1}
            await asyncio.to_thread(
                world.authority.control, hidden, ControlWord.RESET, None, None, **key
            )
            third = await asyncio.to_thread(world.submit, "anna")
            assert (await event())["dataset"] == third

    world.asking(script)


def test_times_in_filters_are_compared_as_times(world: World) -> None:
    world.submit("admin")
    at = iso(world.authority._w.store.datasets.datasets()[0].submitted_us)
    assert at is not None

    async def script(ask: Ask) -> None:
        for query, count in (
            ("submitted_after=2020-01-01T00:00:00Z", 1),
            ("submitted_before=2020-01-01T01:00:00%2B01:00", 0),
            (f"submitted_after={at.replace('+', '%2B')}", 0),
        ):
            answer = await ask("admin", "GET", f"{V}?{query}")
            assert len(answer.json["datasets"]) == count, answer.body

    world.asking(script)
