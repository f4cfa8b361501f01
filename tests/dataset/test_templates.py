"""Documents to start from: right as they stand, explained, and the small ones really run."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from central import document
from central.cli.dataset import group
from central.document import schema
from central.document.template import ABOUT, template
from tests.conftest import REPOSITORY
from tests.loop.conftest import assert_sound, rehearse


@pytest.mark.parametrize("name", ABOUT)
def test_a_template_is_a_document_with_which_nothing_is_wrong(name: str) -> None:
    said = CliRunner().invoke(group, ["template", name], catch_exceptions=False)
    assert said.output == template(name)
    checked = CliRunner().invoke(group, ["check", "-"], input=said.output, catch_exceptions=False)
    assert "nothing is wrong with it" in checked.output
    jsonschema.validate(document.values(said.output, "x.yaml")[0], schema.schema())
    comments = [line for line in said.output.splitlines() if "#" in line]
    assert len(comments) >= 5


def test_every_template_is_listed_and_nothing_else_lies_there() -> None:
    said = CliRunner().invoke(group, ["template"], catch_exceptions=False)
    assert [line.split()[0] for line in said.output.splitlines()] == list(ABOUT)
    folder = REPOSITORY / "central" / "document" / "templates"
    assert {one.stem for one in folder.iterdir()} == set(ABOUT)


def test_a_misspelt_template_is_refused_with_what_was_meant() -> None:
    with pytest.raises(document.DocumentRefused, match="did you mean sweep"):
        template("sweeep")


@pytest.mark.programs
@pytest.mark.parametrize(("name", "jobs", "tasks"), [("fan-in", 5, 14), ("chain", 2, 6)])
def test_a_template_runs_to_its_end(name: str, jobs: int, tasks: int, tmp_path: Path) -> None:
    text = template(name).replace("jobs_per_task: 100", "jobs_per_task: 2")
    file = tmp_path / f"{name}.yaml"
    file.write_text(text)
    summary = rehearse(file, tmp_path / "run", "--jobs", str(jobs))
    assert_sound(summary)
    assert (summary["done"], summary["failed"]) == (tasks, 0)
