"""What a pilot takes from the one file named on its command line."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from bundle.dataset.asks import NETWORK_CLASSES
from bundle.errors import PulkError
from pilot.core import provenance
from pilot.core.ahead import Staging
from pilot.core.container import Containers
from pilot.core.holding import Holding, Isolation
from pilot.core.request import Site

LISTS = ("pip", "conda", "files")  # what `software_files` may name


class ConfigRefused(PulkError):
    """The configuration file is missing or says something unusable. Correct the file."""

    code = "config-refused"
    what = "{reason}"
    remedy = "correct the file, or leave --config out"


def load(path: Path | None) -> Site:
    """Read `[tasks]`, `[staging]`, `[task_environment]`, of `[site]` and `[radio]` a little."""
    if path is None:
        return Site()
    value = read(path)
    tasks = table(value, "tasks", path)
    environment = table(value, "task_environment", path)
    for name, text in environment.items():
        if not isinstance(text, str):
            raise ConfigRefused(where=f"{path}: task_environment.{name}", reason="it is not text")
    task_path = tasks.get("path", Site().task_path)
    if not isinstance(task_path, str):
        raise ConfigRefused(where=f"{path}: tasks.path", reason="it is not text")
    has_radio = bool(_text(table(value, "radio", path), "listen", f"{path}: radio"))
    return Site(
        task_path=task_path,
        environment=tuple(sorted(environment.items())),
        software=_software(tasks, environment, path),
        holding=_holding(tasks, table(value, "site", path), path),
        containers=_containers(tasks, path),
        staging=_staging(table(value, "staging", path), path),
        name=_text(table(value, "site", path), "name", f"{path}: site") if has_radio else "",
        has_radio=has_radio,
    )


def _text(found: dict[str, Any], name: str, where: str) -> str:
    text = found.get(name, "")
    if not isinstance(text, str):
        raise ConfigRefused(where=f"{where}.{name}", reason="it is not text")
    return text


def _staging(staging: dict[str, Any], path: Path) -> Staging:
    usual, where = Staging(), f"{path}: staging"
    return Staging(
        bytes_per_s=_whole(staging, "bytes_per_s", usual.bytes_per_s, 0, where),
        at_once=_whole(staging, "at_once", usual.at_once, 1, where),
        ahead_bytes_max=_whole(staging, "ahead_bytes_max", usual.ahead_bytes_max, 0, where),
    )


def _containers(tasks: dict[str, Any], path: Path) -> Containers:
    """Read what a site has for steps that name an image; the runtime is found on the node."""
    images = table(tasks, "images", path)
    for reference, image in images.items():
        if not isinstance(image, str) or image[:1] != "/":
            where = f"{path}: tasks.images.{reference}"
            raise ConfigRefused(where=where, reason="it is no absolute path")
    binds = _folders(tasks, "container_binds", path)
    return Containers(images=tuple(sorted(images.items())), binds=binds)


def _image_folders(tasks: dict[str, Any], path: Path) -> tuple[str, ...]:
    """Return the folders that must be seen for the images: themselves, or where their files lie."""
    images = map(Path, table(tasks, "images", path).values())
    return tuple(sorted({str(one if one.is_dir() else one.parent) for one in images} - {"/"}))


def _software(tasks: dict[str, Any], environment: dict[str, str], path: Path) -> tuple[str, ...]:
    """Return the words of what the site declares, the digests of its lists, and of the modules."""
    words = tasks.get("software", [])
    if not isinstance(words, list) or not all(
        isinstance(one, str) and provenance.is_word(one) for one in words
    ):
        reason = "it is not a list of texts as `name==version`"
        raise ConfigRefused(where=f"{path}: tasks.software", reason=reason)
    found = set(words)
    files = table(tasks, "software_files", path)
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


def _holding(tasks: dict[str, Any], site: dict[str, Any], path: Path) -> Holding:
    """Read how tasks are held. The folder of the file itself, a relay's home, is hidden."""
    usual, where = Holding(), f"{path}: tasks"
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
        visible=(*_folders(tasks, "visible", path), *_image_folders(tasks, path)),
        writable=_folders(tasks, "writable", path),
        network=network,
        processes_max=_whole(tasks, "processes_max", usual.processes_max, 1, where),
        files_max=_whole(tasks, "files_max", usual.files_max, 1, where),
        ram_bytes=_whole(tasks, "ram_bytes", usual.ram_bytes, 1, where),
    )


def _folders(tasks: dict[str, Any], name: str, path: Path) -> tuple[str, ...]:
    found = tasks.get(name, [])
    if isinstance(found, list) and all(isinstance(one, str) and one[:1] == "/" for one in found):
        return tuple(found)
    raise ConfigRefused(where=f"{path}: tasks.{name}", reason="it is no list of absolute paths")


def _whole(values: dict[str, Any], name: str, usual: int, least: int, where: str) -> int:
    """Return a whole number of a table; `true` is none. Raises ConfigRefused."""
    found = values.get(name, usual)
    if isinstance(found, int) and not isinstance(found, bool) and found >= least:
        return found
    reason = f"it is no whole number of at least {least}"
    raise ConfigRefused(where=f"{where}.{name}", reason=reason)


def read(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises ConfigRefused."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigRefused(where=str(path), reason=error.strerror or str(error)) from error
    except ValueError as error:
        raise ConfigRefused(where=str(path), reason=str(error)) from error


def table(value: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    """Return a table of a file, empty where it is missing. Raises ConfigRefused."""
    found = value.get(name, {})
    if not isinstance(found, dict):
        raise ConfigRefused(where=f"{path}: {name}", reason="it is not a table")
    return found
