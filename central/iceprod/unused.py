"""Parameters and options that no macro of a config asks for: a document has no place for them."""

from __future__ import annotations

from collections.abc import Iterator

from central.iceprod.fields import as_written
from central.iceprod.model import Config, Remark, Values, Weight

GIVEN = ("job", "jobs_submitted", "task", "debug", "iter", "input", "output")


def unused(config: Config, noted: set[tuple[str, str]]) -> list[Remark]:
    """Return a remark for each table of the config with values that nothing asks for.

    `noted` are pairs: which parameter asked (empty: a command, a file or a request), and for what.
    """
    used = _reached(noted)
    made = []
    for path, values in _tables(config):
        left = [name for name in values if f"{path}.{name}" not in used]
        given = [name for name in values if path == "options" and name in GIVEN]
        for words, names in (
            ("IceProd itself sets", given),
            ("no macro asks for", [name for name in left if name not in given]),
        ):
            if names:
                rows = ", ".join(f"{name} = {as_written(values[name])}" for name in names)
                made.append(Remark(path, Weight.CHANGED, f"{words} these, left out: {rows}"))
    return made


def _reached(noted: set[tuple[str, str]]) -> set[str]:
    asked: dict[str, set[str]] = {}
    for by, path in noted:
        asked.setdefault(by, set()).add(path)
    found: set[str] = set()
    todo = [""]
    while todo:
        for path in asked.get(todo.pop(), ()):
            if path not in found:
                found.add(path)
                todo.append(path)
    return found


def _tables(config: Config) -> Iterator[tuple[str, Values]]:
    yield "options", config.options
    yield "steering.system", config.system or {}
    yield "steering.parameters", config.parameters
    for task in config.tasks:
        yield f"{task.path}.parameters", task.parameters
        for tray in task.trays:
            yield f"{tray.path}.parameters", tray.parameters
            for module in tray.modules:
                yield f"{module.path}.parameters", module.parameters
