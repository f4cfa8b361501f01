"""What is generated from the code: tables in docs/commands.md, docs/errors.md; JSON Schema.

`python -m tests.house.reference` writes them; a test compares.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from bundle.cli.main import COMMANDS
from bundle.errors import PulkError
from central.cli.completion import load
from central.document import schema

REPOSITORY = Path(__file__).parent.parent.parent
DOCS = REPOSITORY / "docs"
PACKAGES = ("bundle", "central", "relay", "pilot", "site_adapters")
Valued = frozenset[str]

COMMANDS_HEAD = "| command | what it does | options |\n|---|---|---|\n"
ERRORS_HEAD = "| code | cause and remedy |\n|---|---|\n"


class Accepts(NamedTuple):
    """How many arguments a command takes (`most` nil: any number), and its options.

    `valued` are the options that take a value; those of the groups above are among them.
    """

    least: int
    most: int | None
    flags: frozenset[str]
    valued: frozenset[str]


class Command(NamedTuple):
    """One command as a person types it."""

    name: str
    arguments: tuple[str, ...]
    options: tuple[str, ...]
    words: str
    accepts: Accepts


def commands() -> Iterator[Command]:
    """Yield every command of `pulk`, whichever library parses it."""
    for name in sorted(COMMANDS):
        found = load(name)
        if isinstance(found, click.Command):
            yield from _of_click(found, f"pulk {name}")
        else:
            yield from _of_argparse(found, f"pulk {name}")


def errors() -> list[type[PulkError]]:
    """Return every error that the packages define."""
    for package in PACKAGES:
        root = importlib.import_module(package)
        for found in pkgutil.walk_packages(root.__path__, f"{package}."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    waiting, known = [PulkError], []
    while waiting:
        for one in waiting.pop().__subclasses__():
            waiting.append(one)
            if one.__module__.split(".")[0] in PACKAGES:
                known.append(one)
    return known


def commands_table() -> str:
    """Return the table of docs/commands.md."""
    rows = []
    for one in sorted(commands()):
        typed = " ".join((one.name, *one.arguments))
        options = f"`{' '.join(one.options)}`" if one.options else ""
        rows.append(f"| `{typed}` | {_cell(one.words)} | {options} |\n")
    return COMMANDS_HEAD + "".join(rows)


def errors_table() -> str:
    """Return the table of docs/errors.md; of a code that programs share, one's words."""
    ordered = sorted(errors(), key=lambda one: (one.__module__, one.__name__), reverse=True)
    rows = {one.code: (one.__doc__ or "").strip().split("\n\n")[0] for one in ordered}
    return ERRORS_HEAD + "".join(f"| `{code}` | {_cell(rows[code])} |\n" for code in sorted(rows))


def _of_click(command: click.Command, name: str, above: Valued = frozenset()) -> Iterator[Command]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        above |= {name for one in command.params if not _is_flag(one) for name in one.opts}
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from _of_click(found, f"{name} {inner}", above)
        return
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    yield Command(
        name,
        tuple(one.human_readable_name + ("..." if one.nargs < 0 else "") for one in arguments),
        tuple(one.opts[-1] for one in options if one.opts[-1] != "--help"),
        (command.help or "").split("\n\n")[0],
        Accepts(
            sum(one.nargs if one.nargs > 0 else one.required for one in arguments if one.required),
            None if any(one.nargs < 0 for one in arguments) else sum(a.nargs for a in arguments),
            frozenset(name for one in options if _is_flag(one) for name in one.opts),
            above | {name for one in options if not _is_flag(one) for name in one.opts},
        ),
    )


def _is_flag(one: click.Parameter) -> bool:
    return isinstance(one, click.Option) and (one.is_flag or one.count)


def _of_argparse(parser: argparse.ArgumentParser, name: str) -> Iterator[Command]:
    arguments, options, least = [], [], 0
    flags, valued = set(), set()
    is_open = False
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner, found in action.choices.items():
                yield from _of_argparse(found, f"{name} {inner}")
            return
        if isinstance(action, argparse._HelpAction):
            continue
        if action.option_strings:
            options.append(action.option_strings[-1])
            (flags if action.nargs == 0 else valued).update(action.option_strings)
        else:
            least += action.nargs not in ("?", "*")
            is_open |= action.nargs in ("+", "*")
            shown = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
            arguments.append(shown + ("..." if action.nargs in ("+", "*") else ""))
    words = (parser.description or "").split("\n\n")[0]
    most = None if is_open else len(arguments)
    accepts = Accepts(least, most, frozenset(flags), frozenset(valued))
    yield Command(name, tuple(arguments), tuple(options), words, accepts)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", r"\|")


def _replace(page: Path, head: str, table: str) -> None:
    """Put the table in the place of the one that begins with `head`."""
    before, _, after = page.read_text().partition(head)
    rest = after.partition("\n\n")
    page.write_text(before + table + ("\n" + rest[2] if rest[1] else ""))


if __name__ == "__main__":
    _replace(DOCS / "commands.md", COMMANDS_HEAD, commands_table())
    _replace(DOCS / "errors.md", ERRORS_HEAD, errors_table())
    (DOCS / "dataset.schema.json").write_text(schema.as_text())
