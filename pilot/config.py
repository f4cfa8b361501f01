"""What a pilot takes from the one file named on its command line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from bundle.errors import PulkError
from pilot.core.request import Site


class ConfigRefused(PulkError):
    """The configuration file is missing or says something unusable. Correct the file."""

    code = "config-refused"
    what = "{reason}"
    remedy = "correct the file, or leave --config out"


def load(path: Path | None) -> Site:
    """Read `[tasks] path` and `[task_environment]`; the rest belongs to the relay."""
    if path is None:
        return Site()
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigRefused(where=str(path), reason=error.strerror or str(error)) from error
    except ValueError as error:
        raise ConfigRefused(where=str(path), reason=str(error)) from error
    tasks = _table(value, "tasks", path)
    environment = _table(value, "task_environment", path)
    for name, text in environment.items():
        if not isinstance(text, str):
            raise ConfigRefused(where=f"{path}: task_environment.{name}", reason="it is not text")
    task_path = tasks.get("path", Site().task_path)
    if not isinstance(task_path, str):
        raise ConfigRefused(where=f"{path}: tasks.path", reason="it is not text")
    return Site(task_path, tuple(sorted(environment.items())))


def _table(value: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    table = value.get(name, {})
    if not isinstance(table, dict):
        raise ConfigRefused(where=f"{path}: {name}", reason="it is not a table")
    return table
