"""What a task of IceProd asks of a node, in Pulk's units: IceProd's GB is 2^30 bytes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bundle.dataset.spec import Request
from central.iceprod.model import Remark, Task, Weight

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


def asked(task: Task, expand: Callable[[Any], Any], remarks: list[Remark]) -> Asked:
    """Return what a task asks for; what cannot be said becomes a remark."""
    rows = task.requirements
    path = f"{task.path}.requirements"

    def lost(key: str, words: str) -> None:
        remarks.append(Remark(f"{path}.{key}", Weight.LOST, words))

    amounts = {
        key: _amount(key, expand(rows.get(key)), default, lost) for key, default in AMOUNTS.items()
    }
    for key in rows:
        if key not in (*AMOUNTS, "os", "site"):
            lost(key, "this requirement is unknown")
    site = expand(rows.get("site"))
    return Asked(
        Request(
            cpu_milli=max(1, round(amounts["cpu"] * 1000)),
            gpu_milli=round(amounts["gpu"] * 1000),
            memory_mib=max(1, math.ceil(amounts["memory"] * 1024)),
            disk_bytes=math.ceil(amounts["disk"] * GIB),
            walltime_ms=max(1, math.ceil(amounts["time"] * 3_600_000)),
        ),
        _system(rows.get("os"), lost),
        site if isinstance(site, str) else "",
    )


def _amount(key: str, value: Any, default: float, lost: Callable[[str, str], None]) -> float:
    if value in (None, ""):
        return default
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not 0 <= found <= LARGEST[key]:
        lost(key, f"{str(value)[:50]!r} is no amount: {default} is asked for instead")
        return default
    return found


def _system(value: Any, lost: Callable[[str, str], None]) -> str:
    names = [value] if isinstance(value, str) else value
    if not names:
        return ""
    match = SYSTEM.fullmatch(str(names[0])) if isinstance(names, list) else None
    if match is None or len(names) > 1:
        lost("os", f"{str(value)[:100]} cannot be said: a step requires one system at most")
        return ""
    return f"linux/{match[1].lower()}/{match[2]}"
