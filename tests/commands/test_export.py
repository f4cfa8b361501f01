"""A dataset comes out whole: as a research object that is one, as a document that runs again."""

from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bundle.dataset import spec
from bundle.dataset.spec_hash import spec_hash
from central import document
from tests.commands.conftest import Production
from tests.testbed import roc_validator

pytestmark = pytest.mark.programs

PROFILE = "https://w3id.org/ro/wfrun/provenance/0.5"


@pytest.fixture(scope="session")
def crate(production: Production, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The crate of the production, as a folder."""
    folder = tmp_path_factory.mktemp("crates") / "whole"
    made = production.json("dataset", "export", production.dataset[:6], "--out", str(folder))
    assert made["attempts"] == made["listed"] == made["actions"] == 9
    return folder


def graph(folder: Path) -> dict[str, Any]:
    """Return the entities of a crate by their ids."""
    metadata = json.loads((folder / "ro-crate-metadata.json").read_text())
    return {one["@id"]: one for one in metadata["@graph"]}


def of_type(entities: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the entities of a type."""
    return [one for one in entities.values() if name in _list(one["@type"])]


def targets(entities: dict[str, Any], one: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return what a property refers to; every reference leads somewhere in the crate."""
    return [entities[each["@id"]] for each in _list(one.get(name, []))]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def musts(entities: dict[str, Any]) -> list[str]:
    """Return what the profile demands (MUST) and a crate lacks."""
    wrong = []
    root = entities["./"]
    profiles = {one["@id"] for one in targets(entities, root, "conformsTo")}
    for part in ("process", "workflow", "provenance"):
        if not any(one.startswith(f"https://w3id.org/ro/wfrun/{part}/") for one in profiles):
            wrong.append(f"the root conforms to no {part} profile")
    (main,) = targets(entities, root, "mainEntity")
    kinds = {"File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"}
    wrong += [f"the workflow is no {one}" for one in kinds - set(main["@type"])]
    tools = targets(entities, main, "hasPart")
    actions = of_type(entities, "CreateAction")
    used = [one["@id"] for action in actions for one in targets(entities, action, "instrument")]
    wrong += [
        f"{one['@id']} is used by no action" for one in (*tools, main) if one["@id"] not in used
    ]
    steps = {one["@id"] for one in targets(entities, main, "step")}
    for one in of_type(entities, "HowToStep"):
        if one["@id"] not in steps or not targets(entities, one, "workExample"):
            wrong.append(f"{one['@id']} is of no workflow, or has no tool")
    for one in of_type(entities, "FormalParameter"):
        if "additionalType" not in one or not targets(entities, one, "workExample"):
            wrong.append(f"{one['@id']} has no type or no example")
    for one in of_type(entities, "ControlAction"):
        if not (steps >= {step["@id"] for step in targets(entities, one, "instrument")}):
            wrong.append(f"{one['@id']} has no step")
        if not targets(entities, one, "object"):
            wrong.append(f"{one['@id']} ran nothing")
    organized = of_type(entities, "OrganizeAction")
    for one in organized:
        if not all(targets(entities, one, name) for name in ("instrument", "object", "result")):
            wrong.append(f"{one['@id']} lacks engine, steps or run")
    for one in of_type(entities, "PropertyValue"):
        if one["@id"].startswith("#attempt/") and "propertyID" not in one:
            wrong.append(f"{one['@id']} has no propertyID")
    return wrong if organized else [*wrong, "nobody organised it"]


def test_a_crate_has_all_that_its_profile_demands(crate: Path) -> None:
    entities = graph(crate)
    assert musts(entities) == []
    for one in entities.values():
        for name, value in one.items():
            for each in _list(value):
                if isinstance(each, dict) and "@id" in each and name not in OUTSIDE:
                    assert each["@id"] in entities, (one["@id"], name)


OUTSIDE = ("conformsTo", "actionStatus", "additionalType")  # are what others defined


def test_the_check_sees_what_is_missing(crate: Path) -> None:
    entities = graph(crate)
    entities["#control/0"]["object"] = []
    del entities["#parameter/seed"]["additionalType"]
    entities["#run"]["instrument"] = {"@id": "#tool/0"}
    assert len(musts(entities)) == 3


def test_a_validator_that_is_not_ours_takes_the_crate(crate: Path, tmp_path: Path) -> None:
    assert roc_validator.issues(crate, "provenance-run-crate-0.5") == []
    metadata = json.loads((crate / "ro-crate-metadata.json").read_text())
    for one in metadata["@graph"]:
        if one["@type"] == "ControlAction":
            del one["instrument"]
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in crate.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (broken / "ro-crate-metadata.json").write_text(json.dumps(metadata))
    said = roc_validator.issues(broken, "provenance-run-crate-0.5")
    assert len(said) == 2 and all("HowToStep" in one for one in said)


def test_each_attempt_is_an_action_with_what_it_ran_where_and_on_what(
    production: Production, crate: Path
) -> None:
    entities = graph(crate)
    acts = [one for one in of_type(entities, "CreateAction") if one["@id"].startswith("#attempt/")]
    assert len(acts) == 9
    story = production.client.task(production.dataset, 1, 1)
    (act,) = [one for one in acts if one["identifier"] == story["attempt"]]
    made, taken = targets(entities, act, "result"), targets(entities, act, "object")
    assert [one["sha256"] for one in made] == [one["sha256"] for one in story["outputs"]]
    assert [one["sha256"] for one in taken] == [one["sha256"] for one in story["inputs"]]
    assert [one["name"] for one in targets(entities, act, "agent")] == ["rehearsal"]
    (host,) = targets(entities, act, "location")
    assert host["name"] == story["host"]["name"]
    assert "network: " in host["description"]
    assert "cat eyes.txt eyes.txt > twice.txt" in act["description"]
    assert act["startTime"] == story["started"] < act["endTime"]
    failed = [one for one in acts if one["actionStatus"]["@id"].endswith("FailedActionStatus")]
    assert [one["error"] for one in failed] == ["exit 7: no dice"] * 3
    variables = {one["name"] for one in targets(entities, failed[0], "environment")}
    assert "LEVEL" in variables
    assert entities["#value/p.gain"]["value"] == "2.5"
    run = entities["#run"]
    finals = {one["sha256"] for one in targets(entities, run, "result")}
    assert story["outputs"][0]["sha256"] in finals
    assert len(finals) == 3
    assert run["actionStatus"]["@id"].endswith("FailedActionStatus")


def test_the_files_in_a_crate_are_those_that_central_holds(
    production: Production, crate: Path
) -> None:
    raw = (crate / "dataset.msgpack").read_bytes()
    assert spec.dataset_digest(raw).hex() == graph(crate)["dataset.toml"]["identifier"]
    lines = gzip.decompress((crate / "attempts.ndjson.gz").read_bytes()).splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["no"] for row in rows] == sorted(row["no"] for row in rows)
    told = list(production.client.lines(f"/datasets/{production.dataset}/attempts", detail="true"))
    assert rows == told
    assert sum(row["canonical"] for row in rows) == 6


def test_of_what_is_too_much_a_crate_has_sums(production: Production, tmp_path: Path) -> None:
    out = tmp_path / "small.zip"
    limits = ("--actions", "2", "--attempts", "5", "--license", "https://example.org/licence")
    made = production.json("dataset", "export", production.dataset, "--out", str(out), *limits)
    assert (made["actions"], made["listed"], made["attempts"]) == (2, 5, 9)
    folder = tmp_path / "small"
    with zipfile.ZipFile(out) as archive:
        archive.extractall(folder)
    entities = graph(folder)
    assert musts(entities) == []
    assert entities["./"]["license"]["@id"] == "https://example.org/licence"
    rest = [one for one in entities.values() if one["@id"].startswith("#rest/")]
    assert sum(int(one["name"].split(": ")[1].split()[0]) for one in rest) == 7
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["limits"] == {"actions": 2, "attempts": 5, "listed": 5, "all": 9}
    assert sum(one["attempts"] for one in summary["groups"]["groups"]) == 9


def test_an_exported_document_is_submitted_again_and_computes_the_same(
    production: Production, tmp_path: Path
) -> None:
    out = tmp_path / "again.toml"
    production.pulk("dataset", "export", production.dataset, "--document", "--out", str(out))
    before = spec.decode(production.client.document(production.dataset))
    again = document.load(out)
    hashes = [spec_hash(before, one) for one in range(2)]
    assert [spec_hash(again, one) for one in range(2)] == hashes
    made = production.json("dataset", "submit", str(out))
    assert made["digest"] == spec.dataset_digest(spec.encode(before)).hex()
    refused = production.json("dataset", "export", made["id"], "--out", str(tmp_path / "x"), code=1)
    assert refused["error"]["code"] == "export-refused"
    production.pulk("dataset", "cancel", made["id"])
    for place in (out, tmp_path):  # a file, and a folder with something in it
        error = production.json(
            "dataset", "export", production.dataset, "--out", str(place), code=1
        )
        assert error["error"]["code"] == "export-refused"


def test_outputs_are_fetched_or_it_is_said_where_they_are(
    production: Production, tmp_path: Path
) -> None:
    words = production.pulk("dataset", "outputs", production.dataset).stdout
    assert "at site rehearsal, not brought home" in words
    to = tmp_path / "fetched"
    made = production.json("dataset", "outputs", production.dataset, "--to", str(to))["outputs"]
    home = [one for one in made if one["bundle"]]
    assert sorted(str(one.relative_to(to)) for one in to.rglob("*.txt")) == sorted(
        f"twice/{job}/twice.txt" for job in (0, 1, 3)
    )
    for one in home:
        assert hashlib.sha256(Path(one["file"]).read_bytes()).hexdigest() == one["sha256"]
    task = f"{production.dataset[:8]}/0/roll"
    error = production.pulk("dataset", "outputs", task, "--to", str(to), code=1).stderr
    assert "outputs-not-here" in error and "eyes.txt" in error
