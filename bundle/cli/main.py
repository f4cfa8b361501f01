"""The command `pulk`: a table of names that loads the owning package lazily.

Exit codes: 0 done, 1 refused or failed, 2 usage, 75 try again later. Errors go to stderr as one
line with their code; with `--json` on the command, as one JSON object.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from bundle.errors import PulkError

EXIT_REFUSED = 1
EXIT_TRY_AGAIN = 75

COMMANDS: dict[str, tuple[str, str]] = {
    "bundle": ("bundle.cli.bundle:group", "Inspect and verify bundle files."),
    "central": ("central.cli:group", "The authority: init, serve, enrol, pack, exchange, fsck."),
    "dataset": ("bundle.cli.dataset:group", "Check, submit and watch datasets."),
    "demo": ("bundle.cli.demo:command", "The whole loop on this machine, with faults on purpose."),
    "import": ("bundle.cli.imports:group", "Turn other systems' workflows into documents."),
    "pilot": ("pilot.cli:group", "The process on a node that runs tasks."),
    "rehearse": ("bundle.cli.rehearse:command", "Run any dataset document through the loop."),
    "relay": ("relay.cli:group", "The site's side: init, accept, tick, run, status."),
}


class IoFailed(PulkError):
    """A file or folder could not be read or written. Check that it is there, rights, and space."""

    code = "io-failed"
    what = "{reason}"
    remedy = "check that it is there, its rights, and the space on the disk"


class LazyGroup(click.Group):
    """A group whose commands are named in `COMMANDS` and imported only when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the table."""
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of a name; None for a name that is not in the table."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101  the table is ours
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help from the table alone, so that `pulk --help` imports nothing."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])


def _show_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if not asked:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"pulk {version('pulk')}")
    except PackageNotFoundError:
        click.echo("pulk from an unpacked tree")
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def pulk() -> None:
    """Physics production carried across a firewall in signed bundles."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        pulk.main(given, prog_name="pulk", standalone_mode=False)
    except PulkError as error:
        _say(error, given)
        sys.exit(EXIT_TRY_AGAIN if error.transient else EXIT_REFUSED)
    except OSError as error:
        _say(IoFailed(where=str(error.filename or ""), reason=error.strerror or str(error)), given)
        sys.exit(EXIT_REFUSED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(128 + signal.SIGINT)
    sys.exit(0)


def _say(error: PulkError, given: Sequence[str]) -> None:
    if "--json" in given:
        body: dict[str, Any] = {"error": error.diagnostics()}
        click.echo(json.dumps(body))
    click.echo(f"pulk: {error.text()}", err=True)
