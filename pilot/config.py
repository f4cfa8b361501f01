"""What a pilot takes from the one file named on its command line."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.errors import PulkError
from pilot.core import provenance
from pilot.core.ladder import Times
from pilot.core.request import Site
from pilot.ending import Plan

LISTS = ("pip", "conda", "files")  # what `software_files` may name


class ConfigRefused(PulkError):
    """The configuration file is missing or says something unusable. Correct the file."""

    code = "config-refused"
    what = "{reason}"
    remedy = "correct the file, or leave --config out"


def load(path: Path | None) -> Site:
    """Read `[tasks]` and `[task_environment]`; the rest belongs to the relay."""
    if path is None:
        return Site()
    value = _read(path)
    tasks = _table(value, "tasks", path)
    environment = _table(value, "task_environment", path)
    for name, text in environment.items():
        if not isinstance(text, str):
            raise ConfigRefused(where=f"{path}: task_environment.{name}", reason="it is not text")
    task_path = tasks.get("path", Site().task_path)
    if not isinstance(task_path, str):
        raise ConfigRefused(where=f"{path}: tasks.path", reason="it is not text")
    return Site(task_path, tuple(sorted(environment.items())), _software(tasks, environment, path))


def _software(tasks: dict[str, Any], environment: dict[str, str], path: Path) -> tuple[str, ...]:
    """Return the words of what the site declares, the digests of its lists, and of the modules."""
    words = tasks.get("software", [])
    if not isinstance(words, list) or not all(
        isinstance(one, str) and provenance.is_word(one) for one in words
    ):
        reason = "it is not a list of texts as `name==version`"
        raise ConfigRefused(where=f"{path}: tasks.software", reason=reason)
    found = set(words)
    files = _table(tasks, "software_files", path)
    for name, file in files.items():
        where = f"{path}: tasks.software_files.{name}"
        if name not in LISTS or not isinstance(file, str):
            raise ConfigRefused(where=where, reason=f"only files called {', '.join(LISTS)}")
        try:
            found.add(provenance.digest_word(name, (path.parent / file).read_bytes()))
        except OSError as error:
            raise ConfigRefused(where=where, reason=error.strerror or str(error)) from error
    if loaded := provenance.modules(environment, os.environ):
        found.add(provenance.digest_word("modules", ":".join(loaded).encode()))
    return tuple(sorted(found))


def load_plan(
    path: Path | None,
    end_us: int,
    emergency: Path | None,
    options: Mapping[str, float | None],
) -> Plan:
    """Return what is known of the end: options of the command line, else `[pilots]` of the file.

    A folder in the file is relative to it.
    """
    table = {} if path is None else _table(_read(path), "pilots", path)
    times = {}
    for name, given in options.items():
        found = table.get(name) if given is None else given
        if found is None:
            continue
        if isinstance(found, bool) or not isinstance(found, (int, float)) or not found >= 0:
            raise ConfigRefused(where=f"{path}: pilots.{name}", reason="it is no number of seconds")
        times[name] = float(found)
    folder = table.get("emergency", "")
    if not isinstance(folder, str):
        raise ConfigRefused(where=f"{path}: pilots.emergency", reason="it is not text")
    if emergency is None and folder and path is not None:
        emergency = path.parent / folder
    return Plan(end_us, Times(**times), emergency and emergency.absolute())


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigRefused(where=str(path), reason=error.strerror or str(error)) from error
    except ValueError as error:
        raise ConfigRefused(where=str(path), reason=str(error)) from error


def _table(value: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    table = value.get(name, {})
    if not isinstance(table, dict):
        raise ConfigRefused(where=f"{path}: {name}", reason="it is not a table")
    return table
