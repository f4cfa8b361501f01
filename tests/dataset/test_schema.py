"""The JSON Schema that editors complete documents by says what the reader says."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from central import document
from central.cli.dataset import group
from central.document import schema
from tests.conftest import REPOSITORY

EXAMPLES = sorted((REPOSITORY / "examples").glob("*/dataset.toml"))
SMALL: dict[str, Any] = {
    "schema": 1,
    "name": "x",
    "jobs": 2,
    "steps": [{"name": "s", "command": ["true"]}],
}


def test_the_published_schema_is_made_from_the_code() -> None:
    page = REPOSITORY / "docs" / "dataset.schema.json"
    assert page.read_text() == schema.as_text(), "run `python -m tests.house.reference`"


def test_the_command_prints_the_schema() -> None:
    said = CliRunner().invoke(group, ["schema"], catch_exceptions=False)
    assert said.output == schema.as_text()
    jsonschema.Draft202012Validator.check_schema(json.loads(said.output))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda one: one.parent.name)
def test_every_example_is_what_the_schema_describes(file: Path) -> None:
    written = json.loads(json.dumps(tomllib.loads(file.read_text()), default=str))
    jsonschema.validate(written, schema.schema())
    jsonschema.validate(document.render(document.load(file)), schema.schema())


@pytest.mark.parametrize(
    "wrong",
    [
        {"jbos": 3},
        {"jobs": "3"},
        {"schema": 2},
        {"steps": [{"nam": "s"}]},
        {"steps": [{"name": "s", "command": ["x"], "request": {"memory": "2 parsecs"}}]},
        {"steps": [{"name": "s", "command": ["x"], "request": {"walltime": 5}}]},
        {"steps": [{"name": "s", "command": ["x"], "iterations": 0}]},
        {"grid": {"energy": 3}},
        {"parameters": {"a": True}},
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(wrong: dict[str, Any]) -> None:
    with pytest.raises(document.DocumentRefused):
        document.parse(SMALL | wrong, None, "x")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(SMALL | wrong, schema.schema())
