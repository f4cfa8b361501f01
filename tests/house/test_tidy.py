"""The house stays tidy: what a stranger relies on is written down, and files stay small."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bundle.cli.main import COMMANDS, pulk
from bundle.errors import PulkError
from bundle.fates import Fate

REPOSITORY = Path(__file__).parent.parent.parent
PACKAGES = ("bundle", "central", "relay", "pilot", "site_adapters")
LINES_MAX = 400
DOCS = REPOSITORY / "docs"


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from _commands(found, f"{name} {inner}")
    else:
        yield name, command


def _modules() -> Iterator[str]:
    for package in PACKAGES:
        root = importlib.import_module(package)
        for found in pkgutil.walk_packages(root.__path__, f"{package}."):
            if not found.name.endswith("__main__"):
                yield found.name


def _errors() -> list[type[PulkError]]:
    for module in _modules():
        importlib.import_module(module)
    waiting, found = [PulkError], []
    while waiting:
        for one in waiting.pop().__subclasses__():
            waiting.append(one)
            if one.__module__.split(".")[0] in PACKAGES:
                found.append(one)
    return found


def test_every_command_is_documented() -> None:
    text = (DOCS / "commands.md").read_text()
    missing = [name for name, _ in _commands(pulk, "pulk") if f"`{name}" not in text]
    assert not missing


def test_every_command_has_help() -> None:
    silent = [name for name, command in _commands(pulk, "pulk") if not command.help]
    assert not silent


def test_every_error_code_is_documented_with_its_remedy() -> None:
    text = (DOCS / "errors.md").read_text()
    missing = {one.code for one in _errors() if f"| `{one.code}` |" not in text}
    assert not missing


def test_every_error_says_what_to_do() -> None:
    silent = [one.__name__ for one in _errors() if not one.__doc__ or not one.what]
    assert not silent


def test_every_fate_is_in_the_operators_page() -> None:
    text = (DOCS / "operate-site.md").read_text()
    assert not [fate for fate in Fate if f"`{fate}`" not in text]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_grows_beyond_its_idea(package: str) -> None:
    large = {
        str(path): lines
        for path in (REPOSITORY / package).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > LINES_MAX
    }
    assert not large


def test_the_first_help_page_imports_no_program() -> None:
    import sys

    code = (
        "import sys; from bundle.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = ('aiohttp', 'pydantic', 'central', 'relay', 'rich')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_path_of_a_machine_is_committed() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False
    ).stdout.split()
    here = re.compile(r"/work/(main|shared)\b|/root/")
    texts = {name: REPOSITORY / name for name in listed if (REPOSITORY / name).is_file()}
    guilty = [
        name
        for name, path in texts.items()
        if name != "tests/house/test_tidy.py" and here.search(path.read_text(errors="replace"))
    ]
    assert not guilty


def test_the_glossary_has_every_command_group() -> None:
    glossary = (DOCS / "glossary.md").read_text()
    nouns = {"bundle", "central", "dataset", "pilot", "relay"} & set(COMMANDS)
    assert all(f"| {noun} |" in glossary for noun in nouns)
