"""What a person sets up: settings, completion in the shells, and what `pulk doctor` says of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from bundle.cli.main import COMMANDS
from central.cli import settings
from central.cli.completion import TREES, Pulk
from tests.commands.conftest import COMMAND, Production

COMPLETE_S = 60
BASH = """
set -eu
eval "$({pulk} completion bash)"
COMP_WORDS=({words})
COMP_CWORD={place}
_pulk_completion pulk
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def test_every_command_can_be_completed() -> None:
    assert set(TREES) == set(COMMANDS)
    tree = Pulk("pulk")
    context = click.Context(tree)
    for name in tree.list_commands(context):
        found = tree.get_command(context, name)
        assert found is not None, name
        assert isinstance(found, click.Group) or found.params, name


@pytest.mark.programs
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("pulk da", "dataset"),
        ("pulk dataset ex", "export"),
        ("pulk dataset export --doc", "--document"),
        ("pulk bundle ver", "verify"),
        ("pulk bundle verify --tr", "--trust"),
        ("pulk relay ti", "tick"),
        ("pulk dataset tasks x --verdict fa", "failed"),
    ],
)
def test_bash_completes_what_was_begun(typed: str, offered: str, tmp_path: Path) -> None:
    command = tmp_path / "pulk"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -I -m bundle.cli "$@"\n')
    command.chmod(0o755)
    words = typed.split()
    script = BASH.format(pulk=command, words=" ".join(words), place=len(words) - 1)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=COMPLETE_S,
        check=False,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stderr
    assert offered in done.stdout.split()


def test_a_setting_comes_from_variable_or_file_and_an_unknown_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in settings.VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    assert settings.source("central") == ("", "")
    file = tmp_path / "pulk" / "client.toml"
    file.parent.mkdir()
    file.write_text('central = "http://file"\ntoken_file = "mine.token"\n')
    assert settings.source("central") == ("http://file", str(file))
    assert settings.load()["token_file"] == str(file.parent / "mine.token")
    monkeypatch.setenv("PULK_CENTRAL", "http://variable")
    assert settings.source("central") == ("http://variable", "PULK_CENTRAL")
    for wrong in ('centrl = "x"\n', "central = 1\n", "central = \n"):
        file.write_text(wrong)
        with pytest.raises(settings.SettingsRefused):
            settings.load()


@pytest.mark.programs
def test_doctor_says_what_is_here_and_what_is_wrong(production: Production, tmp_path: Path) -> None:
    found = production.json("doctor")
    assert found["ok"] is True
    told = {one["name"]: one["found"] for one in found["findings"]}
    assert told["central"] == f"{production.url}, from PULK_CENTRAL"
    assert told["central answers"].startswith("you are admin, admin")
    copy = tmp_path / "open.token"
    copy.write_text(production.token_file.read_text())
    copy.chmod(0o644)
    environment = {**production.environment, "PULK_TOKEN_FILE": str(copy)}
    environment["XDG_STATE_HOME"] = "/proc/none"
    done = subprocess.run(
        [*COMMAND, "doctor", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert done.returncode == 1
    wrong = {one["name"] for one in json.loads(done.stdout)["findings"] if "remedy" in one}
    assert wrong == {"token", "journal of requests"}


@pytest.mark.programs
def test_settings_in_the_file_are_enough_to_ask_central(production: Production) -> None:
    environment = dict(production.environment)
    central, token = environment.pop("PULK_CENTRAL"), environment.pop("PULK_TOKEN_FILE")
    folder = production.home / ".config" / "pulk"
    folder.mkdir(parents=True)
    try:
        (folder / "client.toml").write_text(f'central = "{central}"\ntoken_file = "{token}"\n')
        done = subprocess.run(
            [*COMMAND, "dataset", "list", "--json"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env=environment,
        )
        listed = json.loads(done.stdout)["datasets"]
        assert production.dataset in {one["id"] for one in listed}
    finally:
        shutil.rmtree(folder)
