"""`pulk completion SHELL`: what bash, zsh and fish complete; click's own way, over all commands.

The groups are parsed by two libraries and loaded one by one: here they are one tree of click,
whose branches are loaded when a word of theirs is completed.
"""

from __future__ import annotations

import argparse
import importlib
import os

import click
from click.shell_completion import ShellComplete, get_completion_class, shell_complete

from bundle.cli.main import COMMANDS, COMPLETING

# Where each command's parser is: one of click, or a function that makes one of argparse.
TREES = {
    "bundle": "bundle.cli.bundle:parser",
    "central": "central.cli.central:group",
    "completion": "central.cli.completion:command",
    "dataset": "central.cli.dataset:group",
    "demo": "central.cli.demo:command",
    "doctor": "central.cli.doctor:command",
    "import": "central.cli.imports:group",
    "keys": "bundle.cli.keys:parser",
    "login": "central.cli.login:command",
    "notify": "central.cli.notify:group",
    "pilot": "pilot.cli:parser",
    "rehearse": "central.cli.rehearse:command",
    "relay": "relay.cli:group",
    "simulate": "central.cli.simulate:command",
    "tell": "central.cli.tell:command",
    "token": "central.cli.token:group",
    "watch": "central.cli.watch:command",
    "why": "central.cli.why:command",
}
SHELLS = ("bash", "zsh", "fish")


class Pulk(click.Group):
    """All commands; each is loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command with its own ones; nothing where there is none."""
        if cmd_name not in TREES:
            return None
        found = load(cmd_name)
        if isinstance(found, argparse.ArgumentParser):
            return of_argparse(found, cmd_name)
        return found


def load(name: str) -> click.Command | argparse.ArgumentParser:
    """Return the parser of a command."""
    module, _, attribute = TREES[name].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if isinstance(found, click.Command):
        return found
    made = found()
    assert isinstance(made, argparse.ArgumentParser)  # noqa: S101  so says the table
    return made


def of_argparse(parser: argparse.ArgumentParser, name: str) -> click.Command:
    """Return a parser of argparse as a command of click that has the same words."""
    parameters: list[click.Parameter] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            made = {one: of_argparse(inner, one) for one, inner in action.choices.items()}
            return click.Group(name, made, help=parser.description)
        if action.option_strings and "--help" not in action.option_strings:
            takes = action.nargs != 0
            kind = click.Path() if takes else None
            option = click.Option(action.option_strings, is_flag=not takes, type=kind)
            option.help = action.help
            parameters.append(option)
        elif not action.option_strings:
            many = -1 if action.nargs in ("+", "*") else 1
            parameters.append(
                click.Argument([action.dest], nargs=many, required=False, type=click.Path())
            )
    return click.Command(name, params=parameters, help=parser.description)


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print what SHELL needs to complete commands: `eval "$(pulk completion bash)"`."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  click knows the three
    click.echo(ShellComplete.source(kind(Pulk("pulk"), {}, "pulk", COMPLETING)))


def complete(_arguments: list[str]) -> int:
    """Answer a shell that completes a line; return the exit code."""
    return shell_complete(Pulk("pulk"), {}, "pulk", COMPLETING, os.environ[COMPLETING])
