"""What a task of IceProd asks of a node, in Pulk's units: IceProd's GB is 2^30 bytes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bundle.dataset.spec import Request
from central.iceprod.fields import as_written
from central.iceprod.model import Remark, Task, Values, Weight

AMOUNTS: dict[str, float] = {"cpu": 1, "gpu": 0, "memory": 1, "disk": 1, "time": 1}
GIB = 1 << 30
LARGEST: dict[str, float] = {
    "cpu": 1000,
    "gpu": 1000,
    "memory": 65_536,
    "disk": 2**20,
    "time": 8760,
}
SYSTEM = re.compile(r"(?i)(rhel|ubuntu|debian|centos)_?(\d+)(?:[_.]\d+)*(?:_x86_64)?")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, the operating system and the site that a task wants; empty: any."""

    request: Request
    os: str
    site: str


def asked(task: Task, found: Sequence[Values], remarks: list[Remark]) -> Asked:
    """Return what a task asks for; what cannot be said becomes a remark.

    Args:
        task: with the requirements as they are written.
        found: the same, expanded, for each job that was looked at.
        remarks: to which remarks are added.
    """
    rows = found[0]
    path = f"{task.path}.requirements"
    said: dict[str, None] = {}

    def lost(key: str, words: str) -> None:
        said.setdefault(f"{path}.{key}\n{words}")

    amounts: dict[str, float] = {}
    for key, default in AMOUNTS.items():
        if default and any(one.get(key) in (0, "0") for one in found):
            words = f"0 asks for nothing, as in IceProd: it gets {default:g}"
            remarks.append(Remark(f"{path}.{key}", Weight.CHANGED, words))
        values = dict.fromkeys(_amount(key, one.get(key), default, lost) for one in found)
        amounts[key] = max(values)
        if len(values) > 1:
            words = f"it depends on the job: all ask for the most that any asks, {amounts[key]:g}"
            remarks.append(Remark(f"{path}.{key}", Weight.CHANGED, words))
    for key in rows:
        if key not in (*AMOUNTS, "os", "site"):
            lost(key, f"this requirement is unknown (here {as_written(rows[key])})")
    for key in ("os", "site"):
        if any(one.get(key) != rows.get(key) for one in found):
            first = as_written(rows.get(key))
            lost(key, f"it depends on the job: what the first asks holds for all (here {first})")
    system = _system(rows.get("os"), lost)
    site = _site(rows.get("site"), lost)
    for row in said:
        where, _, words = row.partition("\n")
        remarks.append(Remark(where, Weight.LOST, words))
    return Asked(
        Request(
            cpu_milli=max(1, round(amounts["cpu"] * 1000)),
            gpu_milli=round(amounts["gpu"] * 1000),
            memory_mib=max(1, math.ceil(amounts["memory"] * 1024)),
            disk_bytes=math.ceil(amounts["disk"] * GIB),
            walltime_ms=max(1, math.ceil(amounts["time"] * 3_600_000)),
        ),
        system,
        site,
    )


def _amount(key: str, value: Any, default: float, lost: Callable[[str, str], None]) -> float:
    if value in (None, ""):
        return default
    if key == "gpu" and isinstance(value, list):
        return float(len(value))  # a list of their names, as of old
    try:
        amount = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        amount = math.nan
    if not 0 <= amount <= LARGEST[key]:
        lost(key, f"{str(value)[:50]!r} is no amount: {default} is asked for instead")
        return default
    return amount or default  # IceProd passes over a zero


def _site(value: Any, lost: Callable[[str, str], None]) -> str:
    """Return the name of a site; IceProd's own names stay as they are."""
    if value in (None, ""):
        return ""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_.+-]+", value):
        lost("site", f"{str(value)[:100]!r} is not the name of one site")
        return ""
    return value


def _system(value: Any, lost: Callable[[str, str], None]) -> str:
    names = [value] if isinstance(value, str) else value
    if not names:
        return ""
    match = SYSTEM.fullmatch(str(names[0])) if isinstance(names, list) else None
    if match is None or len(names) > 1:
        lost("os", f"{str(value)[:100]} cannot be said: a step requires one system at most")
        return ""
    return f"linux/{match[1].lower()}/{match[2]}"
