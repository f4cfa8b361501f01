"""What `bundle.cli.main` calls: each of central's command groups as a function of its arguments."""

from __future__ import annotations

import importlib

import click


def central(arguments: list[str]) -> int:
    """Run `pulk central`; return the exit code."""
    return _run("central", "central.cli.central:group", arguments)


def completion(arguments: list[str]) -> int:
    """Run `pulk completion`; return the exit code."""
    return _run("completion", "central.cli.completion:command", arguments)


def doctor(arguments: list[str]) -> int:
    """Run `pulk doctor`; return the exit code."""
    return _run("doctor", "central.cli.doctor:command", arguments)


def watch(arguments: list[str]) -> int:
    """Run `pulk watch`; return the exit code."""
    return _run("watch", "central.cli.watch:command", arguments)


def dataset(arguments: list[str]) -> int:
    """Run `pulk dataset`; return the exit code."""
    return _run("dataset", "central.cli.dataset:group", arguments)


def demo(arguments: list[str]) -> int:
    """Run `pulk demo`; return the exit code."""
    return _run("demo", "central.cli.demo:command", arguments)


def imports(arguments: list[str]) -> int:
    """Run `pulk import`; return the exit code."""
    return _run("import", "central.cli.imports:group", arguments)


def rehearse(arguments: list[str]) -> int:
    """Run `pulk rehearse`; return the exit code."""
    return _run("rehearse", "central.cli.rehearse:command", arguments)


def login(arguments: list[str]) -> int:
    """Run `pulk login`; return the exit code."""
    return _run("login", "central.cli.login:command", arguments)


def notify(arguments: list[str]) -> int:
    """Run `pulk notify`; return the exit code."""
    return _run("notify", "central.cli.notify:group", arguments)


def token(arguments: list[str]) -> int:
    """Run `pulk token`; return the exit code."""
    return _run("token", "central.cli.token:group", arguments)


def why(arguments: list[str]) -> int:
    """Run `pulk why`; return the exit code."""
    return _run("why", "central.cli.why:command", arguments)


def tell(arguments: list[str]) -> int:
    """Run `pulk tell`; return the exit code."""
    return _run("tell", "central.cli.tell:command", arguments)


def simulate(arguments: list[str]) -> int:
    """Run `pulk simulate`; return the exit code."""
    return _run("simulate", "central.cli.simulate:command", arguments)


def _run(name: str, place: str, arguments: list[str]) -> int:
    module, _, attribute = place.partition(":")
    command: click.Command = getattr(importlib.import_module(module), attribute)
    try:
        code = command.main(arguments, prog_name=f"pulk {name}", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as error:
        raise KeyboardInterrupt from error
    return code if isinstance(code, int) else 0
