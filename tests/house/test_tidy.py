"""The house stays tidy: what a stranger relies on is written down, and files stay small."""

from __future__ import annotations

import re
import subprocess

import pytest

from bundle.cli.main import COMMANDS
from bundle.fates import Fate
from tests.house.reference import (
    DOCS,
    PACKAGES,
    REPOSITORY,
    commands,
    commands_table,
    errors,
    errors_table,
)

LINES_MAX = 400
HOW = "run `python -m tests.house.reference`"


def test_the_table_of_commands_is_made_from_the_code() -> None:
    assert commands_table() in (DOCS / "commands.md").read_text(), HOW


def test_every_command_and_argument_has_help() -> None:
    assert not [one.name for one in commands() if not one.words]


def test_the_table_of_errors_is_made_from_the_code() -> None:
    assert errors_table() in (DOCS / "errors.md").read_text(), HOW


def test_every_error_says_what_to_do() -> None:
    silent = [one.__name__ for one in errors() if not one.__doc__ or not one.what]
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
        "heavy = ('aiohttp', 'pydantic', 'central', 'relay', 'rich', 'click', 'argparse')\n"
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
