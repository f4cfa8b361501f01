"""What a pilot takes from the one file named on its command line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from bundle.dataset.asks import NETWORK_CLASSES
from bundle.errors import PulkError
from pilot.core.holding import Holding, Isolation
from pilot.core.request import Site


class ConfigRefused(PulkError):
    """The configuration file is missing or says something unusable. Correct the file."""

    code = "config-refused"
    what = "{reason}"
    remedy = "correct the file, or leave --config out"


def load(path: Path | None) -> Site:
    """Read `[tasks]`, `[task_environment]` and `[site] network`; the rest is the relay's."""
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
    holding = _holding(tasks, _table(value, "site", path), path)
    return Site(task_path, tuple(sorted(environment.items())), holding)


def _holding(tasks: dict[str, Any], site: dict[str, Any], path: Path) -> Holding:
    """Read how tasks are held. The folder of the file itself, a relay's home, is hidden."""
    usual = Holding()
    try:
        isolation = Isolation(tasks.get("isolation", usual.isolation))
    except ValueError:
        words = ", ".join(Isolation)
        raise ConfigRefused(
            where=f"{path}: tasks.isolation", reason=f"it is none of {words}"
        ) from None
    network = site.get("network") or usual.network
    if network not in NETWORK_CLASSES:
        words = ", ".join(NETWORK_CLASSES)
        raise ConfigRefused(where=f"{path}: site.network", reason=f"it is none of {words}")
    return Holding(
        isolation=isolation,
        hidden=(str(path.resolve().parent), *_folders(tasks, "hidden", path)),
        visible=_folders(tasks, "visible", path),
        writable=_folders(tasks, "writable", path),
        network=network,
        processes_max=_count(tasks, "processes_max", usual.processes_max, path),
        files_max=_count(tasks, "files_max", usual.files_max, path),
        ram_bytes=_count(tasks, "ram_bytes", usual.ram_bytes, path),
    )


def _folders(tasks: dict[str, Any], name: str, path: Path) -> tuple[str, ...]:
    found = tasks.get(name, [])
    if isinstance(found, list) and all(isinstance(one, str) and one[:1] == "/" for one in found):
        return tuple(found)
    raise ConfigRefused(where=f"{path}: tasks.{name}", reason="it is no list of absolute paths")


def _count(tasks: dict[str, Any], name: str, usual: int, path: Path) -> int:
    found = tasks.get(name, usual)
    if isinstance(found, int) and found > 0:
        return found
    raise ConfigRefused(where=f"{path}: tasks.{name}", reason="it is no whole number above 0")


def _table(value: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    table = value.get(name, {})
    if not isinstance(table, dict):
        raise ConfigRefused(where=f"{path}: {name}", reason="it is not a table")
    return table
