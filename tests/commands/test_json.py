"""With `--json` there is one JSON document on stdout and nothing else, whatever became of it."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from bundle.cli import main
from central.cli.completion import load
from tests.commands.conftest import COMMAND, LIMIT_S, Production
from tests.house.reference import Command, commands

CONTRACT = {0, 1, 2, 75}
WITH_JSON = [one for one in commands() if "--json" in one.options]
RUN_WITHOUT_WORDS = {"pulk demo", "pulk simulate"}  # nothing of theirs can be missing
READ = (
    "dataset list",
    "dataset show {0}",
    "dataset jobs {0}",
    "dataset tasks {0}",
    "dataset tasks {0} 2 roll",
    "dataset tasks {0} 2 roll --logs",
    "dataset attempts {0} --logs",
    "dataset counts {0}",
    "dataset audit {0}",
    "dataset learned {0}",
    "dataset disputes {0}",
    "dataset outputs {0}",
    "dataset notify {0}",
    "dataset export {0} --document",
    "dataset extend {0} 1 --dry-run",
    "dataset suspend {0} --dry-run",
    "dataset reset --owner admin --failed --dry-run",
    "dataset cancel --name nothing-* --dry-run",
    "notify show",
    "token list",
    "token whoami",
    "tell {0}/2/roll",
    "why {0}/2/roll",
    "watch",
    "watch {0}",
    "doctor",
)

CONTRACT_COMMANDS = {
    "": "demo rehearse why tell watch login doctor",
    "import": "iceprod wfcommons",
    "dataset": "check submit list show jobs tasks attempts suspend resume reset cancel uncancel "
    "truncate extend edit export",
    "token": "make list revoke whoami",
    "central": "init serve pack exchange enrol fsck rebuild backup restore doctor",
    "central user": "add list remove set",
    "central site": "list",
    "relay": "init accept tick run status drain salvage export import doctor",
    "pilot": "run",
    "bundle": "inspect verify ls cat query export import split join eject diff",
    "keys": "root-init sign rotate revoke show check",
}


def words_for(one: Command, place: str) -> list[str]:
    """Return the command with all that it must be given; files lie where none can be."""
    _, *names = one.name.split()
    found: Any = load(names[0])
    if not isinstance(found, click.Command):
        return [*names, *[place] * one.accepts.least]
    for name in names[1:]:
        found = found.commands[name]
    words = list(names)
    for parameter in found.params:
        if parameter.required:
            kind = parameter.type
            value = "1" if isinstance(kind, click.types.IntParamType) else place
            value = str(kind.choices[0]) if isinstance(kind, click.Choice) else value
            is_option = isinstance(parameter, click.Option)
            words += [parameter.opts[-1], value] if is_option else [value]
    return words


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A token and the address of a central that does not listen."""
    token = tmp_path / "token"
    token.write_text("pulk_0")
    monkeypatch.setenv("PULK_TOKEN_FILE", str(token))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    monkeypatch.setenv("PULK_CENTRAL", f"http://127.0.0.1:{port}")
    yield


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("one", WITH_JSON, ids=lambda one: one.name)
def test_what_fails_is_one_document_too(
    one: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if one.name in RUN_WITHOUT_WORDS:
        return
    (tmp_path / "file").write_text("")
    words = words_for(one, str(tmp_path / "file" / "below"))
    with pytest.raises(SystemExit) as ended:
        main.main([*words, "--json"])
    said = capsys.readouterr()
    assert ended.value.code in CONTRACT, said
    if ended.value.code == main.EXIT_USAGE:
        assert said.out == "" and said.err
    else:
        answer = json.loads(said.out)
        if "error" in answer:
            assert answer["error"]["code"] in said.err


@pytest.mark.programs
@pytest.mark.parametrize("line", READ)
def test_what_is_read_is_one_document(production: Production, line: str) -> None:
    words = [word.format(production.dataset) for word in line.split()]
    done = production.pulk(*words, "--json")
    json.loads(done.stdout)
    assert done.stdout.count("\n") == 1  # and no more than a line: what reads lines can take it


@pytest.mark.programs
def test_every_command_of_the_contract_is_there() -> None:
    names = {one.name for one in commands()}
    for group, several in CONTRACT_COMMANDS.items():
        above = f"pulk {group}".strip()
        assert {f"{above} {one}" for one in several.split()} <= names
    alone = subprocess.run(
        [*COMMAND, "--version"], capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    assert alone.stdout.startswith("pulk ")
