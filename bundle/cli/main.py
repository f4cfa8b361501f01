"""The command `pulk`: a table of names that loads the owning package lazily.

Exit codes: 0 done, 1 refused or failed, 2 usage, 75 try again later. Errors go to stderr as one
line with their code; with `--json` on the command, as one JSON object.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn, TextIO

from bundle.errors import PulkError

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_TRY_AGAIN = 75

HELP = ("-h", "--help")
VERSION = "--version"
COMPLETING = "_PULK_COMPLETE"  # variable: a shell completes a line

Entry = Callable[[list[str]], int]


class Listed(NamedTuple):
    """Where a command is: `module:attribute` of an `Entry`; and what it is for."""

    entry: str
    words: str


COMMANDS: dict[str, Listed] = {
    "bundle": Listed("bundle.cli.bundle:command", "Look into bundle files; carry them by hand."),
    "central": Listed("central.cli.entry:central", "The authority: init, serve, enrol, exchange."),
    "completion": Listed(
        "central.cli.entry:completion", "What bash, zsh or fish needs to complete commands."
    ),
    "dataset": Listed("central.cli.entry:dataset", "Check, submit, watch and control datasets."),
    "demo": Listed(
        "central.cli.entry:demo", "The whole loop on this machine, with faults on purpose."
    ),
    "doctor": Listed("central.cli.entry:doctor", "What is installed, configured, and wrong here."),
    "import": Listed("central.cli.entry:imports", "Turn other systems' workflows into documents."),
    "keys": Listed("bundle.cli.keys:command", "Root keys, the trust file, rotation, revocation."),
    "login": Listed("central.cli.entry:login", "A token through your identity provider."),
    "notify": Listed("central.cli.entry:notify", "Be told of your datasets by mail or webhook."),
    "pilot": Listed("pilot.cli:command", "The process on a node that runs tasks."),
    "rehearse": Listed("central.cli.entry:rehearse", "Run any dataset document through the loop."),
    "relay": Listed("relay.cli:command", "The site's side: init, accept, tick, run, status."),
    "token": Listed("central.cli.entry:token", "Make, list and revoke access tokens."),
    "tell": Listed("central.cli.entry:tell", "What happened to a task, in order, in words."),
    "watch": Listed("central.cli.entry:watch", "Datasets and sites, as they change."),
    "why": Listed("central.cli.entry:why", "Why a task is not running, and what would help."),
    "simulate": Listed(
        "central.cli.entry:simulate", "What a production of some size costs and leaves idle."
    ),
}


class MissingPackage(PulkError):
    """A Python package that this command needs is not installed. Install it, or all of Pulk."""

    code = "missing-package"
    what = "the Python package {package!r} is not installed here"
    remedy = "install it from a wheel, or run `pip install` on the folder of Pulk"


class IoFailed(PulkError):
    """A file or folder could not be read or written. Check that it is there, rights, and space."""

    code = "io-failed"
    what = "{reason}"
    remedy = "check that it is there, its rights, and the space on the disk"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _have_streams()
    try:
        sys.exit(_code_of(given))
    finally:
        _let_go(sys.stdout)
        _let_go(sys.stderr)


def _code_of(given: list[str]) -> int:
    """Run one command; say what it refuses; return its exit code."""
    try:
        try:
            code = run(given)
        except SystemExit as ended:  # argparse ends so, after its help too
            code = ended.code if isinstance(ended.code, int) else 0
        sys.stdout.flush()  # here, where a full disk or a closed pipe still has an answer
    except PulkError as error:
        _say(error, given)
        code = EXIT_TRY_AGAIN if error.transient else EXIT_REFUSED
    except BrokenPipeError:
        code = EXIT_REFUSED  # the reader has what it wanted: `pulk bundle ls FILE | head`
    except OSError as error:
        _let_go(sys.stdout)
        _say(IoFailed(where=str(error.filename or ""), reason=error.strerror or str(error)), given)
        code = EXIT_REFUSED
    except ModuleNotFoundError as error:
        _say(MissingPackage(package=error.name or str(error)), given)
        code = EXIT_REFUSED
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)  # noqa: T201
        code = 128 + signal.SIGINT
    return code


def run(given: list[str]) -> int:
    """Run one command and return its exit code. Raises what the command raises."""
    if COMPLETING in os.environ:
        return _entry("central.cli.completion:complete")(given)
    name = given[0] if given else HELP[0]
    if name in HELP:
        _print(_help())
        return 0 if given else EXIT_USAGE
    if name == VERSION:
        _print(_version())
        return 0
    if name not in COMMANDS:
        _print(f"pulk: there is no command {name!r}; see `pulk --help`", sys.stderr)
        return EXIT_USAGE
    return entry_of(name)(given[1:])


def entry_of(name: str) -> Entry:
    """Import the package that owns a command and return what runs it."""
    return _entry(COMMANDS[name].entry)


def _entry(place: str) -> Entry:
    module, _, attribute = place.partition(":")
    entry: Entry = getattr(importlib.import_module(module), attribute)
    return entry


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    rows = [f"  {name:{width}}{COMMANDS[name].words}" for name in sorted(COMMANDS)]
    return "\n".join(
        (
            "Usage: pulk [--version] COMMAND [ARGUMENTS]...",
            "",
            "  Physics production carried across a firewall in signed bundles.",
            "",
            "Commands:",
            *rows,
            "",
            "`pulk COMMAND --help` tells more.",
        )
    )


def _version() -> str:
    from bundle.version import VERSION

    return f"pulk {VERSION}"


def _say(error: PulkError, given: Sequence[str]) -> None:
    from bundle.cli.table import printable

    with contextlib.suppress(OSError):  # nobody hears it; the exit code says it too
        if "--json" in given:
            import json

            body: dict[str, Any] = {"error": error.diagnostics()}
            _print(json.dumps(body))
        _print(f"pulk: {printable(error.text())}", sys.stderr)


def _print(text: str, file: Any = None) -> None:
    print(text, file=file or sys.stdout)


def _have_streams() -> None:
    """Have somewhere to write where a program was started with its streams closed."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(nowhere, "r" if name == "stdin" else "w"))


def _let_go(stream: TextIO) -> None:
    """Write what a stream holds, or throw it away where it can't be written.

    The interpreter would try again at its end, say so with a traceback, and exit with 120.
    """
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
