"""What a merge adds: new facts, changed rows, counters by difference; and what needs no row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from central.core import verdict as verdicts
from central.core.controls import Controls
from central.core.dag import Dag
from central.core.facts import AttemptFact, Pin, Place, TaskRow, Verdict
from central.core.verdict import TaskFacts


@dataclass(slots=True)
class UsageSum:
    """What the counted attempts of a step used; the peak is a maximum, the rest are sums.

    The peak is that of all contents of a key, counted or not: a maximum can't be taken back.
    """

    attempts: int = 0
    wall_ms: int = 0
    cpu_ms: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    memory_peak_mib: int = 0

    def add(self, one: AttemptFact, sign: int = 1) -> None:
        """Add an attempt to the sums, or take it back."""
        self.attempts += sign
        self.wall_ms += sign * one.wall_ms
        self.cpu_ms += sign * one.cpu_ms
        self.read_bytes += sign * one.read_bytes
        self.written_bytes += sign * one.written_bytes


@dataclass(slots=True)
class Changes:
    """What a merge adds to the store: new facts, changed rows, counters by difference."""

    rows: dict[Place, TaskRow] = field(default_factory=dict)
    counts: dict[tuple[int, Verdict], int] = field(default_factory=dict)
    known: dict[int, int] = field(default_factory=dict)
    usage: dict[int, UsageSum] = field(default_factory=dict)
    attempts: list[AttemptFact] = field(default_factory=list)
    pins: list[Pin] = field(default_factory=list)
    made_pins: list[Pin] = field(default_factory=list)  # those of `pins` that central makes now
    was: dict[Place, Verdict | None] = field(default_factory=dict)  # of `rows`, before
    flipped: set[int] = field(default_factory=set)  # steps per dataset whose jobs must be judged
    contradicted: list[AttemptFact] = field(default_factory=list)  # a key with two contents


def is_unbalanced(counts: Mapping[Verdict, int], tasks: int) -> bool:
    """Return whether the buckets of a step can't be right (invariant I1).

    What is removed is beside its tasks: a truncated dataset has begun more than it has.
    """
    return min(counts.values()) < 0 or sum(counts.values()) - counts.get(Verdict.REMOVED, 0) > tasks


def implied_row(dag: Dag, controls: Controls, place: Place) -> TaskRow:
    """Return what the config implies for a task that nothing has happened to."""
    standing = controls.implied(place)
    facts = TaskFacts(b"", 1, None, parents_done=not dag.needs[place[0]], standing=standing)
    return TaskRow(*place, standing.generation, verdicts.verdict(facts, 0).verdict, b"", 0, 0)
