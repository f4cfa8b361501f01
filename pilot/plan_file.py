"""What a pilot knows of its end before it starts: the command line, else `[pilots]` of its file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pilot.config import ConfigRefused, read, table
from pilot.core.ladder import Times
from pilot.ending import Plan


def load_plan(
    path: Path | None,
    end_us: int,
    emergency: Path | None,
    options: Mapping[str, float | None],
) -> Plan:
    """Return what is known of the end: options of the command line, else `[pilots]` of the file.

    A folder in the file is relative to it.
    """
    said = {} if path is None else table(read(path), "pilots", path)
    times = {}
    for name, given in options.items():
        found = said.get(name) if given is None else given
        if found is None:
            continue
        if isinstance(found, bool) or not isinstance(found, (int, float)) or not found >= 0:
            raise ConfigRefused(where=f"{path}: pilots.{name}", reason="it is no number of seconds")
        times[name] = float(found)
    folder = said.get("emergency", "")
    if not isinstance(folder, str):
        raise ConfigRefused(where=f"{path}: pilots.emergency", reason="it is not text")
    if emergency is None and folder and path is not None:
        emergency = path.parent / folder
    return Plan(end_us, Times(**times), emergency and emergency.absolute())
