"""What a person set once for all commands: client.toml in the folder for settings.

An option wins over a variable, a variable over the file. The current directory is never looked at.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bundle.errors import PulkError

NAME = "client.toml"
KEYS = ("central", "token_file")
VARIABLES = {"central": "PULK_CENTRAL", "token_file": "PULK_TOKEN_FILE"}


class SettingsRefused(PulkError):
    """client.toml is unreadable, not TOML, or has a key that is none of `central`, `token_file`."""

    code = "settings-refused"
    what = "{reason}"
    remedy = "correct that file; `pulk doctor` shows what is taken from it"


def folder() -> Path:
    """Return this user's folder for settings of Pulk: below XDG_CONFIG_HOME, else ~/.config."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    config = Path(given) if given.startswith("/") else Path.home() / ".config"
    return config / "pulk"


def load() -> dict[str, str]:
    """Return what client.toml sets; nothing where there is none. Raises SettingsRefused."""
    path = folder() / NAME
    try:
        with path.open("rb") as file:
            given = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsRefused(where=str(path), reason=reason) from error
    for name, value in given.items():
        if name not in KEYS or not isinstance(value, str):
            reason = f"{name} is not one of {', '.join(KEYS)}, or no text"
            raise SettingsRefused(where=str(path), reason=reason)
    if "token_file" in given:
        given["token_file"] = str(path.parent / Path(given["token_file"]).expanduser())
    return given


def fill(name: str, *, required: bool) -> Callable[..., Any]:
    """Return the callback of an option that, where nobody gave it, takes the file's value."""

    def take(context: click.Context, option: click.Parameter, given: Any) -> Any:
        if given is not None:
            return given
        found = load().get(name)
        if found is None:
            if required and not context.resilient_parsing:
                raise click.MissingParameter(ctx=context, param=option)
            return None
        return option.type_cast_value(context, found)

    return take


def source(name: str) -> tuple[str, str]:
    """Return a setting and where it comes from; empty texts where it is not set."""
    if value := os.environ.get(VARIABLES[name], ""):
        return value, VARIABLES[name]
    value = load().get(name, "")
    return value, str(folder() / NAME) if value else ""
