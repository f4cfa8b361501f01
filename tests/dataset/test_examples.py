"""What lies in examples/: every document is right as it stands, and the small ones really run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from central.cli.dataset import group
from tests.conftest import REPOSITORY
from tests.loop.conftest import assert_sound, rehearse

EXAMPLES = sorted((REPOSITORY / "examples").glob("*/dataset.toml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda one: one.parent.name)
def test_every_example_is_a_document_with_which_nothing_is_wrong(file: Path) -> None:
    said = CliRunner().invoke(group, ["check", str(file), "--json"], catch_exceptions=False)
    assert said.exit_code == 0
    assert json.loads(said.stdout)["tasks"] > 0


def test_the_page_of_examples_names_each_of_them() -> None:
    page = (REPOSITORY / "examples" / "README.md").read_text()
    assert not [file for file in EXAMPLES if f"]({file.parent.name}/" not in page]


@pytest.mark.programs
@pytest.mark.parametrize(("name", "tasks"), [("first", 3), ("sweep", 8)])
def test_a_small_example_runs_to_its_end(name: str, tasks: int, tmp_path: Path) -> None:
    file = REPOSITORY / "examples" / name / "dataset.toml"
    summary = rehearse(file, tmp_path / "run", "--jobs", "2")
    assert_sound(summary)
    assert (summary["done"], summary["failed"]) == (tasks, 0)
    assert summary["fates"] == {"success": tasks}
