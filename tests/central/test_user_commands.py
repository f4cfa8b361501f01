"""Users from the command line and over HTTP: with a server at work, and by stick."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bundle.dataset import spec
from bundle.trust import cosignature, fingerprint
from bundle.trust.keys import KeyFile, Role
from central import document
from central.cli.dataset import group as dataset
from tests.central.site import SITE, Site, enrolled
from tests.central.test_http import Served, start

pytestmark = pytest.mark.programs

LIMIT_S = 60
DOCUMENT = {"schema": 1, "name": "x", "jobs": 2, "steps": [{"name": "s", "command": ["true"]}]}


def pulk(*words: object, code: int = 0) -> Any:
    """Run the real command with --json and return its document."""
    done = subprocess.run(
        [sys.executable, "-I", "-m", "bundle.cli", *map(str, words), "--json"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return json.loads(done.stdout) if done.stdout else done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A central that certified a site."""
    return enrolled(tmp_path)


@pytest.fixture
def served(site: Site) -> Iterator[Served]:
    """A server of that central."""
    running = start(site)
    yield running
    assert running.stop() == 0, running.log.read_text()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A dataset document as a person writes it."""
    path = tmp_path / "x.json"
    path.write_text(json.dumps(DOCUMENT))
    return path


def users(site: Site) -> list[dict[str, Any]]:
    return list(pulk("central", "user", "list", site.home.root)["users"])


def key(folder: Path, name: str) -> KeyFile:
    return KeyFile.create(folder / f"{name}.key", Role.USER)


def test_a_submission_goes_by_stick_and_waits_for_its_user(
    site: Site, file: Path, tmp_path: Path
) -> None:
    anna, stick = key(tmp_path, "anna"), tmp_path / "stick"
    stick.mkdir()
    bundle = stick / "x.pulk"
    made = pulk("dataset", "submit", file, "--bundle", bundle, "--key", anna.path)
    assert (made["tasks"], made["key"]) == (2, anna.public.hex())
    assert made["bytes"] == bundle.stat().st_size

    again = pulk("dataset", "submit", file, "--bundle", bundle, "--key", anna.path, code=1)
    assert again["error"]["code"] == "submission-exists"

    (came,) = pulk("central", "exchange", site.home.root, stick, tmp_path / "out")["came"]
    assert (came["outcome"], came["code"]) == ("parked", "unknown-key")
    (tmp_path / "anna.pub").write_text(f"{anna.public.hex()} anna@lab\n")
    add = ("central", "user", "add", site.home.root, "anna", tmp_path / "anna.pub")
    wrong = pulk(*add, "--fingerprint", site.fingerprint, code=1)
    assert wrong["error"]["code"] == "wrong-fingerprint"
    assert [one["name"] for one in users(site)] == ["admin"]
    added = pulk(*add, "--fingerprint", fingerprint.of_key(anna.public))
    assert added["merged"] == 1
    (came,) = pulk("central", "exchange", site.home.root, stick, tmp_path / "out")["came"]
    assert came["outcome"] == "merged"
    _, row = users(site)
    assert (row["name"], row["key"]) == ("anna", anna.public.hex())
    assert pulk("central", "fsck", site.home.root)["datasets"] == 1
    pulk("central", "user", "remove", site.home.root, "anna")
    assert [one["name"] for one in users(site)] == ["admin"]
    pulk("central", "user", "remove", site.home.root, "anna", code=1)


def test_users_come_and_go_while_the_server_runs(
    served: Served, file: Path, tmp_path: Path
) -> None:
    anna, root = key(tmp_path, "anna"), served.site.home.root
    bundle = tmp_path / f"{'0' * 64}.pulk"  # the name in the path is a hint only
    pulk("dataset", "submit", file, "--bundle", bundle, "--key", anna.path)
    assert served.put(bundle)["disposition"] == "parked"
    assert pulk("central", "user", "add", root, "anna", anna.public.hex())["merged"] == 1
    (row,) = served.client.get("/datasets")["datasets"]
    assert served.client.get(f"/datasets/{row['id']}")["submitted_by"] == "anna"
    assert served.put(bundle)["disposition"] == "merged"
    assert len(served.client.get("/datasets")["datasets"]) == 1
    assert [one["name"] for one in served.client.users()] == ["admin", "anna"]
    pulk("central", "user", "remove", root, "anna")
    assert [one["name"] for one in served.client.users()] == ["admin"]


def test_a_dataset_is_submitted_with_the_cosignatures_of_several_people(
    served: Served, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    people = [key(tmp_path, name) for name in ("anna", "bela")]
    files = [tmp_path / f"{one.path.stem}.cosignature" for one in people]
    for one, out in zip(people, files, strict=True):
        made = pulk("dataset", "cosign", file, "--key", one.path, "--out", out)
        assert made["key"] == one.public.hex()
    given = ["--central", served.url, "--token-file", str(served.site.home.token)]
    for out in files:
        given += ["--cosignature", str(out)]
    done = CliRunner().invoke(dataset, ["submit", str(file), *given, "--json"])
    assert done.exit_code == 0, done.output
    about = served.client.get(f"/datasets/{json.loads(done.stdout)['id']}")
    assert sorted(about["cosigned_by"]) == sorted(one.public.hex() for one in people)

    other = tmp_path / "other.json"
    other.write_text(json.dumps(DOCUMENT | {"jobs": 3}))
    refused = pulk("dataset", "submit", other, *given, code=1)
    assert refused["error"]["code"] == "cosignature-refused"


def test_a_dataset_is_edited_reset_and_adopted_from_the_command_line(
    served: Served, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    given = ["--central", served.url, "--token-file", str(served.site.home.token)]
    name = pulk("dataset", "submit", file, *given)["id"]
    first = pulk("dataset", "show", name, *given)["digest"]
    step = {"name": "s", "command": ["false"], "failures_max": 9}
    other = tmp_path / "other.json"
    other.write_text(json.dumps(DOCUMENT | {"steps": [step]}))
    made = pulk("dataset", "edit", name[:8], other, *given)
    assert (made["steps"], made["tasks"]) == ([0], 0)  # nothing had run yet
    shown = pulk("dataset", "show", name, *given)
    assert shown["digest"] == made["digest"] != first
    assert pulk("dataset", "tasks", name, "0", "0", *given)["command"] == ["false"]
    more = tmp_path / "more.json"
    more.write_text(json.dumps(DOCUMENT | {"jobs": 3}))
    refused = pulk("dataset", "edit", name, more, *given, code=1)
    assert "edit-refused" in refused["error"]["what"]
    assert "3 jobs instead of 2" in refused["error"]["what"]
    assert pulk("dataset", "reset", name, *given)["tasks"] == 2
    assert pulk("dataset", "adopt", name, "--jobs", "1", "--step", "0", *given)["tasks"] == 1


def test_the_rest_interface_refuses_what_is_no_cosignature(served: Served, file: Path) -> None:
    raw = spec.encode(document.load(file))
    authorization = f"Bearer {served.site.token}"

    def post(**headers: str) -> tuple[int, str]:
        given = {"Content_Type": "application/msgpack", "Idempotency_Key": "k"} | headers
        status, answer = served.ask(
            "POST", "/v1/datasets", raw, Authorization=authorization, **given
        )
        return status, json.loads(answer).get("code", "")

    assert post(Pulk_Cosignature="no base64!") == (400, "request-malformed")
    assert post(Pulk_Cosignature="anVuaw==") == (400, "cosignature-refused")
    assert not served.client.get("/datasets")["datasets"]
    assert post()[0] == 200


def test_the_rest_interface_refuses_what_is_no_user(served: Served) -> None:
    authorization = f"Bearer {served.site.token}"

    def ask(method: str, path: str, body: object, **headers: str) -> int:
        given = {"Content_Type": "application/json", "Authorization": authorization} | headers
        return served.ask(method, path, json.dumps(body).encode(), **given)[0]

    good = {"name": "anna", "key": "ab" * 32}
    for body in ({}, good | {"key": "AB"}, good | {"name": ""}, good | {"more": 1}, [good]):
        assert ask("POST", "/v1/users", body) == 400
    assert ask("POST", "/v1/users", good, Authorization="Bearer " + "x" * 20) == 401
    assert ask("DELETE", "/v1/users/anna", {}) == 400
    assert [one["name"] for one in served.client.users()] == ["admin"]


def test_usage_is_said_where_options_do_not_fit(file: Path, tmp_path: Path) -> None:
    anna = key(tmp_path, "anna")
    for words in (
        ["--bundle", str(tmp_path / "x.pulk")],
        ["--bundle", str(tmp_path / "x.zip"), "--key", str(anna.path)],
        ["--key", str(anna.path), "--central", "http://nowhere.invalid", "--token-file", "t"],
        ["--central", "http://nowhere.invalid"],
    ):
        done = CliRunner().invoke(dataset, ["submit", str(file), *words])
        assert done.exit_code == 2, done.output
    assert not list(tmp_path.glob("*.pulk"))


def test_only_a_users_key_signs(file: Path, tmp_path: Path) -> None:
    other = KeyFile.create(tmp_path / "site.key", Role.SITE)
    out = tmp_path / "x.pulk"
    for words in (["submit", file, "--bundle", out], ["cosign", file, "--out", out]):
        refused = pulk("dataset", *words, "--key", other.path, code=1)
        assert refused["error"]["code"] == "key-file-refused"
    assert not out.exists()


def test_a_cosignature_file_is_the_signed_record_alone(file: Path, tmp_path: Path) -> None:
    anna, out = key(tmp_path, "anna"), tmp_path / "c"
    pulk("dataset", "cosign", file, "--key", anna.path, "--out", out)
    found = cosignature.read(out.read_bytes())
    assert found.keys == {anna.public}
    assert found.digest == spec.dataset_digest(spec.encode(document.load(file)))
    assert SITE.encode() not in out.read_bytes()
