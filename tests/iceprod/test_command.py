"""`pulk import iceprod` prints a document, lists what differs, and says so with its exit code."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bundle.dataset.spec import Command
from bundle.errors import PulkError
from central import document
from central.cli.imports import group
from tests.iceprod.configs import Values, filters, one_module, showers
from tests.loop.conftest import assert_sound, rehearse


def written(folder: Path, config: Values) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return str(path)


def run(*arguments: str) -> tuple[Any, str, str]:
    """Return what the command gave back, and what it wrote to stdout and stderr."""
    done = CliRunner().invoke(group, ["iceprod", *arguments], standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.return_value, done.stdout, done.stderr


def test_a_document_comes_out_and_what_is_missing_is_told(tmp_path: Path) -> None:
    code, out, err = run(written(tmp_path, showers()), "--jobs", "7", "--name", "mine")
    dataset = document.parse_text(out, None, "stdout")
    assert (code, dataset.name, dataset.jobs, dataset.seed) == (0, "mine", 7, 412)
    light = "tasks[1].trays[0].modules[0].data[1]: no other task takes"
    address = "osdf:///icecube/wipac/scratch/simprod/412/N/light.gz"
    assert err.splitlines() == [
        "carried over in another way: parent_id: it stands in the description",
        f"carried over in another way: {light} {address} in: it travels home",
    ]
    code, out, err = run(written(tmp_path, filters()))
    assert code == 0
    assert document.parse_text(out, None, "stdout").jobs == 1
    batch = '{"condor": {"requirements": "!regexp(X)"}}'
    assert "not carried over: steering.batchsys: " in err
    assert f"(here {batch})" in err
    last = "3 things were not carried over, see above: complete config or document"
    assert err.splitlines()[-1] == last
    assert run(written(tmp_path, filters()), "--strict")[0] == 1
    assert run(written(tmp_path, showers()), "--strict")[0] == 0


def test_a_config_comes_from_stdin_with_a_byte_order_mark_or_without() -> None:
    text = json.dumps(one_module(args="grüße $(job)"), ensure_ascii=False)
    for content in (text.encode(), b"\xef\xbb\xbf" + text.encode()):
        done = CliRunner().invoke(group, ["iceprod", "-"], input=content)
        assert done.exit_code == 0
        step = document.parse_text(done.stdout, None, "stdout").steps[0]
        assert isinstance(step.run, Command)
        assert step.run.argv[-1].endswith("run.py grüße $(job)")
    with pytest.raises(PulkError, match="not UTF-8") as caught:
        CliRunner().invoke(group, ["iceprod", "-"], input=b"\xff", catch_exceptions=False)
    assert caught.value.where == "stdin"


def test_commands_of_single_jobs_are_printed_for_comparison(tmp_path: Path) -> None:
    file = written(tmp_path, one_module(args="--n $(job) --of $(jobs_submitted)"))
    code, out, _ = run(file, "--jobs", "2000", "--job", "0,999", "--json")
    rows = json.loads(out)
    assert code == 0
    assert [(one["job"], one["task"]) for one in rows] == [(0, "only"), (999, "only")]
    assert rows[1]["commands"][-1].endswith("python run.py --n 999 --of 2000")
    _, out, _ = run(file, "--job", "3")
    assert "## job 3, task only\n" in out
    assert "run.py --n 3 --of 1\n" in out


def test_what_is_no_config_is_refused_with_file_and_path(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    for text, words in (
        ("{", "not JSON"),
        ("[1]", "an object is wanted"),
        ("[" * 100_000, "nested too deep"),
        ('{"version": 3, "version": 3}', "stands twice"),
        (json.dumps(one_module(args="\ue000")), "private use"),
        (json.dumps(one_module() | {"tasks": 3}), "tasks: a list is wanted"),
        (json.dumps(one_module({"a": "$(a)x"})), r"steering.parameters.a.*leads back to itself"),
    ):
        bad.write_text(text)
        with pytest.raises(PulkError, match=words) as caught:
            run(str(bad))
        assert str(bad) in caught.value.where, text[:40]


@pytest.mark.programs
@pytest.mark.parametrize("config", [showers(), filters()])
def test_a_config_is_rehearsed_with_stand_ins(tmp_path: Path, config: Values) -> None:
    """Each task finds its inputs and leaves its outputs and what it would have run."""
    _, out, _ = run(written(tmp_path, config), "--jobs", "3", "--stand-in")
    for step in document.parse_text(out, None, "stdout").steps:
        assert isinstance(step.run, Command)
    dataset = tmp_path / "dataset.json"
    dataset.write_text(out)
    summary = rehearse(dataset, tmp_path / "rehearsal")
    assert_sound(summary)
    assert summary["done"] == 6


@pytest.mark.programs
def test_the_shell_of_a_real_step_runs_its_program_and_renames_its_files(tmp_path: Path) -> None:
    """Without the experiment's software: a program that copies what it gets."""
    config = filters()
    config["steering"]["parameters"] |= {"mctype": "w"}
    for task, program in zip(config["tasks"], ("echo $3 > ${2#--out=}", "cat $2"), strict=True):
        module = task["trays"][0]["modules"][0]
        module |= {"src": "run.sh", "env_shell": "", "configs": {"run.json": {"a": "$(job)"}}}
        (tmp_path / "run.sh").write_text(program)
        _, out, _ = run(written(tmp_path, config))
        step = document.parse_text(out, None, "stdout").steps[config["tasks"].index(task)]
        assert isinstance(step.run, Command)
        text = step.run.argv[-1].replace("$(=job:04d)", "0000").replace("$(job)", "0")
        done = subprocess.run(
            ["sh", "-c", text], cwd=tmp_path, timeout=30, capture_output=True, text=True, check=True
        )
        assert (tmp_path / "run.json").read_text() == '{"a":0}\n'
    assert done.stdout == "-q\n"


def test_every_command_that_the_guide_names_is_there() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    rows = (docs / "commands.md").read_text()
    known = {one.strip() for one in re.findall(r"^\| `(pulk [a-z -]+)", rows, re.MULTILINE)}
    text = (docs / "from-iceprod.md").read_text()
    named = re.findall(r"(pulk [a-z]+)( [a-z-]+)?", text)
    unknown = {one + more for one, more in named if not {one, one + more} & known}
    assert unknown <= {"pulk dataset"}
    assert len(named) > 30
