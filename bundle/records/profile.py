"""A site's profile, part of its report: what its nodes are, what it runs and how much it takes.

What a site does not tell is unknown, and what is unknown stands in nobody's way: an amount of 0, an
empty text, `None` for lists. An empty list is told: `gpus=()` is a site without any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bundle import shape

LIST_MAX = 1024  # entries of any list


@dataclass(frozen=True, slots=True)
class Gpu:
    """The GPUs of one model in a node."""

    model: str
    memory_mib: int
    count: int


@dataclass(frozen=True, slots=True)
class Profile:
    """The largest of a site's nodes, and the site's own rules.

    `walltime_ms`: the longest allocation; `margin_ms` of it go to a pilot's start and end.
    `network`: what tasks may reach, "none", "site" or "any".
    `allow`, `deny`: users, groups or dataset ids that the site runs for, or does not.
    `tasks_max`, `node_hours_max_milli`: how much may be promised to the site at once.
    `trip_ms`: how long a bundle takes there and its answer back. `queue_wait_ms`: of a batch job.
    """

    nodes: int = 0
    cpu_milli: int = 0
    memory_mib: int = 0
    disk_bytes: int = 0
    gpus: tuple[Gpu, ...] | None = None
    walltime_ms: int = 0
    os: str = ""
    arch: str = ""
    libc: str = ""
    software: tuple[str, ...] | None = None
    network: str = ""
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    tasks_max: int = 0
    node_hours_max_milli: int = 0
    trip_ms: int = 0
    queue_wait_ms: int = 0
    margin_ms: int = 0

    @property
    def task_ms(self) -> int:
        """The longest walltime that a task may ask for; 0 where no allocation's is known."""
        return max(1, self.walltime_ms - self.margin_ms) if self.walltime_ms else 0


UNKNOWN = Profile()
_COUNTS = (
    "nodes", "cpu_milli", "memory_mib", "disk_bytes", "walltime_ms", "margin_ms",
    "tasks_max", "node_hours_max_milli", "trip_ms", "queue_wait_ms",
)  # fmt: skip
_TEXTS = ("os", "arch", "libc", "network")


def to_wire(profile: Profile) -> dict[str, Any]:
    """Return what is known, as plain values."""
    made: dict[str, Any] = {
        name: value for name in (*_COUNTS, *_TEXTS) if (value := getattr(profile, name))
    }
    if profile.gpus is not None:
        made["gpus"] = [[one.model, one.memory_mib, one.count] for one in profile.gpus]
    if profile.software is not None:
        made["software"] = list(profile.software)
    if profile.allow:
        made["allow"] = list(profile.allow)
    if profile.deny:
        made["deny"] = list(profile.deny)
    return made


def from_wire(row: shape.Reader) -> Profile:
    """Read a profile; fields of later versions are passed over. Raises WrongShape."""
    counts: dict[str, Any] = {name: row.count(name) for name in _COUNTS if row.has(name)}
    texts: dict[str, Any] = {name: row.text(name) for name in _TEXTS if row.has(name)}
    gpus = None
    if row.has("gpus"):
        gpus = tuple(Gpu(one.text(0), one.count(1), one.count(2)) for one in row.readers("gpus"))
        _bounded(row, "gpus", gpus)
    return Profile(
        **counts,
        **texts,
        gpus=gpus,
        software=_names(row, "software") if row.has("software") else None,
        allow=_names(row, "allow") if row.has("allow") else (),
        deny=_names(row, "deny") if row.has("deny") else (),
    )


def _names(row: shape.Reader, key: str) -> tuple[str, ...]:
    return _bounded(row, key, row.texts(key))


def _bounded(row: shape.Reader, key: str, found: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(found) > LIST_MAX:
        raise shape.WrongShape(
            where=f"{row.where}.{key}", expected=f"at most {LIST_MAX}", found=str(len(found))
        )
    return found
