"""Dataset documents over HTTP: every form that people write, errors by line, no lock held."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator

import pytest
import tomli_w
import yaml
from aiohttp.test_utils import TestClient, TestServer

from bundle.dataset import spec
from bundle.dataset.refusals import CycleFound
from bundle.dataset.spec import Command, Dataset, Request, Step
from central.config import Config
from central.core.edit import Size
from central.http.app import make_app
from central.http.budgets import Budgets
from tests.central.scripted_site import ScriptedSite
from tests.rest.world import Answer, Ask, World, opened

VALUES = {
    "schema": 1,
    "name": "written",
    "jobs": 4,
    "steps": [{"name": "make", "command": ["true"]}, {"name": "sum", "command": ["true"]}],
}
FORMS = {
    "application/json": json.dumps(VALUES),
    "application/yaml": yaml.safe_dump(VALUES, sort_keys=False),
    "application/toml": tomli_w.dumps(VALUES),
    "application/yaml; charset=utf-8": "\ufeff" + yaml.safe_dump(VALUES, sort_keys=False),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(tmp_path_factory.mktemp("world")) as found:
        yield found


def asked(world: World, path: str, text: str | bytes, kind: str = "", key: str = "key") -> Answer:
    """Send a document as the administrator."""
    found: list[Answer] = []
    raw = text if isinstance(text, bytes) else text.encode()

    async def script(ask: Ask) -> None:
        headers = {"Content_Type": kind} if kind else {}
        found.append(await ask("admin", "POST", path, raw, Idempotency_Key=key, **headers))

    world.asking(script)
    return found[0]


def test_a_document_is_the_same_in_whatever_form_it_comes(world: World) -> None:
    digests = set()
    for number, (kind, text) in enumerate(FORMS.items()):
        made = asked(world, "/v1/datasets", text, kind, f"form-{number}")
        checked = asked(world, "/v1/datasets/check?sites=true", text, kind)
        assert made.status == checked.status == 200, (kind, made.body, checked.body)
        assert (checked.json["ok"], checked.json["tasks"]) == (True, 8)
        assert [one["name"] for one in checked.json["steps"]] == ["make", "sum"]
        assert [one["site"] for one in checked.json["sites"]] == ["north"]
        digests |= {made.json["digest"], checked.json["digest"]}
        edited = asked(
            world, f"/v1/datasets/{made.json['id']}/document", text, kind, f"edit-{number}"
        )
        assert (edited.status, edited.json["tasks"]) == (200, 0)
        digests.add(edited.json["digest"])
    assert len(digests) == 1


def test_a_check_changes_nothing(world: World) -> None:
    before = len(world.authority.datasets())
    assert asked(world, "/v1/datasets/check", FORMS["application/yaml"], "application/yaml").json
    assert len(world.authority.datasets()) == before


@pytest.mark.parametrize(
    ("kind", "text", "line", "path", "code"),
    [
        (
            "application/yaml",
            FORMS["application/yaml"] + "- name: third\n  comand: ['true']\n",
            12,
            "steps[2].comand",
            "document-refused",
        ),
        (
            "application/toml",
            FORMS["application/toml"] + '[[steps]]\nname = "third"\nneeds = ["mak"]\n'
            'command = ["true"]\n',
            18,
            "steps[2].needs[0]",
            "unknown-step",
        ),
        ("application/json", json.dumps(VALUES | {"jobs": 0}, indent=1), 4, "jobs", ""),
        ("application/yaml", "schema: 1\nname: [\n", 3, None, "document-refused"),
        ("application/toml", "schema = 1\nname = \n", 2, None, "document-refused"),
        ("application/json", '{"schema": 1,\n "name": }', 2, None, "document-refused"),
        ("application/yaml", "schema: 1\nname: *gone\n", 2, None, "document-refused"),
    ],
)
@pytest.mark.parametrize("route", ["/v1/datasets", "/v1/datasets/check"])
def test_a_refusal_says_on_which_line_and_where(
    world: World, route: str, kind: str, text: str, line: int, path: str | None, code: str
) -> None:
    found = asked(world, route, text, kind)
    assert found.status == 400
    said = found.json
    assert (said["line"], said["code"]) == (line, code or said["code"]), said
    assert said["where"].startswith(f"body:{line}")
    if path is not None:
        assert said["path"] == path and said["where"].endswith(path)
    assert said["remedy"] and said["type"] == f"urn:pulk:error:{said['code']}"


def test_what_a_body_is_must_be_said_and_be_so(world: World) -> None:
    yaml_text, json_text = FORMS["application/yaml"], FORMS["application/json"]
    for kind in ("text/plain", "application/x-www-form-urlencoded", "text/html"):
        found = asked(world, "/v1/datasets", yaml_text, kind)
        assert (found.status, found.code) == (415, "wrong-media-type"), kind
        assert "application/toml" in found.json["what"]
    # one form is never taken for another, however much it looks like it
    assert asked(world, "/v1/datasets", yaml_text, "application/json").code == "document-refused"
    assert asked(world, "/v1/datasets", yaml_text, "application/toml").code == "document-refused"
    assert asked(world, "/v1/datasets", json_text, "application/msgpack").status == 400
    assert asked(world, "/v1/datasets", b"\xff\xfe", "application/yaml").code == "request-malformed"
    latin = asked(world, "/v1/datasets", yaml_text, "application/yaml; charset=latin-1")
    assert (latin.status, latin.json["where"]) == (400, "Content-Type")


def test_files_beside_a_document_are_not_read_at_central(world: World) -> None:
    values = VALUES | {"files": {"run.py": {"from": "/etc/passwd"}}}
    found = asked(world, "/v1/datasets/check", yaml.safe_dump(values), "application/yaml")
    assert found.status == 400 and found.json["path"].startswith("files")


def circle(steps: int) -> bytes:
    """Return a document whose steps need each other: only who looks at all of them sees it."""
    of = [
        Step(f"s{place}", Command(("true",)), needs=((place + 1) % steps,), request=Request())
        for place in range(steps)
    ]
    return spec.encode(Dataset("circle", 1, 0, tuple(of)))


def test_a_document_is_decoded_and_checked_while_somebody_else_merges(world: World) -> None:
    dataset = world.submit("")
    said: list[BaseException] = []

    def submits() -> None:
        try:
            world.authority.submit(circle(500), idempotency_key="circle", token_id=1)
        except CycleFound as error:
            said.append(error)

    def edits() -> None:
        try:
            world.authority.edit(dataset, circle(500), idempotency_key="edit", token_id=1)
        except CycleFound as error:
            said.append(error)

    with world.authority._held():  # as every merge holds it, until both have been refused
        threads = [threading.Thread(target=one) for one in (submits, edits)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(60.0)
        assert not any(one.is_alive() for one in threads)
    assert len(said) == 2


def test_a_commit_finds_its_documents_decoded(world: World) -> None:
    dataset = world.submit("", jobs=5)
    world.authority._w._dags.clear()
    found = {one.digest for one in world.authority._foreseen(dataset, Size(None, 2, None))}
    made = world.authority.resize(dataset, Size(None, 2, None), idempotency_key="size", token_id=1)
    assert made.jobs == 7 and made.digest in found


@pytest.mark.sweeps
def test_small_documents_and_merges_do_not_wait_for_a_large_one(world: World) -> None:
    """By order: all of them are through while the large one is decoded."""
    steps = "".join(f"  - name: s{number}\n    command: ['true']\n" for number in range(6000))
    large = f"schema: 1\nname: large\njobs: 1\nsteps:\n{steps}".encode()
    budgets = Budgets(8, 4)
    report = ScriptedSite("south", world.site.root / "south", world.authority).report(1)

    async def script() -> None:
        app = make_app(world.authority, world.site.home, Config(), budgets)
        head = {"Authorization": f"Bearer {world.tokens['admin']}"}
        head |= {"Content-Type": "application/yaml"}
        async with TestClient(TestServer(app)) as client:

            async def post(key: str, raw: bytes) -> int:
                given = head | {"Idempotency-Key": key}
                async with client.post("/v1/datasets", data=raw, headers=given) as answer:
                    return answer.status

            sent = asyncio.create_task(post("large", large))
            while not budgets.documents.is_busy:
                assert not sent.done()
                await asyncio.sleep(0.01)
            small = FORMS["application/yaml"].encode()
            assert [await post(f"small-{number}", small) for number in range(3)] == [200] * 3
            found = await asyncio.to_thread(world.authority.absorb, report)
            assert found.outcome == "merged"
            assert not sent.done() and budgets.documents.is_busy
            assert await sent == 200

    asyncio.run(script())
