"""What packing keeps its ready tasks in: kinds of each shard, and shelves of kinds."""

from __future__ import annotations

from dataclasses import dataclass, field

from pilot.core.ranks import Plan
from pilot.core.room import Need

Key = tuple[int, int, int, int, int, int, int]
"""Losses, minus the urgent rank or 0, shard, job, minus the level, step, number of the kind."""


@dataclass(slots=True, eq=False)
class Kind:
    """Ready tasks that are alike. `latest_us` is how long one of them may run."""

    number: int
    shard: Shard
    step: int
    need: Need
    latest_us: int
    losses: int
    suspect: bool
    lacks_files: bool = False
    jobs: list[int] = field(default_factory=list)
    urgency: int = 0
    shelf: Shelf | None = None

    def key(self) -> Key:
        """Return the place of its first task in the order."""
        shard = self.shard
        level = shard.plan.levels[self.step]
        return self.losses, self.urgency, shard.key, self.jobs[0], -level, self.step, self.number


@dataclass(slots=True, eq=False)
class Shard:
    """An open shard. No task of it starts from `start_before_us` on, unless that is 0."""

    key: int
    plan: Plan
    start_before_us: int
    kinds: dict[tuple[int, Need, int, int, bool, bool], Kind] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Shelf:
    """Kinds that need the same and take about as long, with the best one first."""

    need: Need
    suspect: bool
    lacks_files: bool
    heap: list[tuple[Key, Kind]] = field(default_factory=list)
