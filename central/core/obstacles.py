"""Obstacles: what keeps a task from running, in words that name the remedy.

An obstacle is a value: its code never changes, its text is made from its fields. Nothing here asks
anybody; what finds an obstacle fills in what it saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Code(StrEnum):
    """Every kind of obstacle, the task's own ones first, then those of a site, then the order's."""

    DONE = "done"
    REMOVED = "removed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    POISON = "poison"
    PARENTS = "parents"
    SUSPENDED = "suspended"
    OPEN = "open"
    OTHER_DATASET = "other-dataset"
    LEASED = "leased"
    NOT_FETCHED = "not-fetched"
    RESULT_PARKED = "result-parked"
    BACK_OFF = "back-off"
    INPUTS_NOWHERE = "inputs-nowhere"
    RECOVERING = "recovering"
    NO_SITE = "no-site"
    NEVER_REPORTED = "never-reported"
    SITE_SILENT = "site-silent"
    WANTS_NONE = "wants-none"
    SITE_FULL = "site-full"
    NODE_HOURS = "node-hours"
    NOT_ALLOWED = "not-allowed"
    DENIED = "denied"
    REFUSED_BY_SITE = "refused-by-site"
    COSIGNATURE = "cosignature"
    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"
    WALLTIME = "walltime"
    GPU = "gpu"
    GPU_MODEL = "gpu-model"
    GPU_MEMORY = "gpu-memory"
    OS = "os"
    ARCH = "arch"
    LIBC = "libc"
    SOFTWARE = "software"
    NETWORK = "network"
    USER_QUOTA = "user-quota"
    GROUP_QUOTA = "group-quota"
    SHARE = "share"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing in the way. `site`: where; empty where it holds everywhere.

    `needs` and `has` are the two sides of it; `remedy` is what would remove it; `until_us` (UTC
    microseconds) is when it passes by itself, 0 where it does not.
    """

    code: Code
    text: str
    needs: str = ""
    has: str = ""
    remedy: str = ""
    site: str = ""
    until_us: int = 0

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, without what is empty."""
        return {
            name: value
            for name in ("code", "site", "text", "needs", "has", "remedy", "until_us")
            if (value := getattr(self, name))
        }


def at_site(one: Obstacle, site: str) -> Obstacle:
    """Return the obstacle as that of a site."""
    return Obstacle(one.code, one.text, one.needs, one.has, one.remedy, site, one.until_us)


def amount(value: float) -> str:
    """Return a number without needless digits."""
    return f"{value:g}" if abs(value) < 1e6 else f"{value:,.0f}"


def mib(value: int) -> str:
    """Return an amount of memory in words."""
    return f"{amount(value / 1024)} GiB" if value >= 1024 else f"{value} MiB"


def size(value: int) -> str:
    """Return an amount of disk in words."""
    for unit, width in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)):
        if value >= width:
            return f"{value / width:.4g} {unit}"
    return f"{value} bytes"


def duration(value_ms: float) -> str:
    """Return a duration in words."""
    seconds = value_ms / 1000
    for unit, width in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * width:
            return f"{seconds / width:.3g} {unit}"
    return f"{seconds:.3g} s"
