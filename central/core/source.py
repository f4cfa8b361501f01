"""What a merge asks of whoever keeps the facts of a dataset: many tasks at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, Protocol

from central.core.facts import AttemptFact, Pin, Place, TaskRow, Verdict


class StepCounts(NamedTuple):
    """How many rows of a step have each verdict, and how many have an outcome."""

    verdicts: Mapping[Verdict, int]
    known: int


class Source(Protocol):
    """The facts of one dataset as they are stored; each call is a few queries at most."""

    def load_rows(self, places: Collection[Place]) -> Iterable[TaskRow]:
        """Return the rows of those tasks that have one."""

    def load_attempts(self, places: Collection[Place]) -> Iterable[AttemptFact]:
        """Return all attempts at tasks."""

    def load_pins(self, places: Collection[Place]) -> Iterable[Pin]:
        """Return all pins of tasks."""

    def load_outcomes(self, step: int, tasks: range) -> Iterable[tuple[int, bytes]]:
        """Return (job, outcome) of those of a step's tasks that have one."""

    def count_done(self, step: int, tasks: range) -> int:
        """Return how many of a step's tasks are done."""

    def load_counts(self, steps: Collection[int]) -> Mapping[int, StepCounts]:
        """Return how many rows steps have; those without any may be left out."""


class NoFacts:
    """A `Source` of a dataset of which nothing is stored."""

    def load_rows(self, places: Collection[Place]) -> Iterable[TaskRow]:
        """See `Source`."""
        del places
        return ()

    def load_attempts(self, places: Collection[Place]) -> Iterable[AttemptFact]:
        """See `Source`."""
        del places
        return ()

    def load_pins(self, places: Collection[Place]) -> Iterable[Pin]:
        """See `Source`."""
        del places
        return ()

    def load_outcomes(self, step: int, tasks: range) -> Iterable[tuple[int, bytes]]:
        """See `Source`."""
        del step, tasks
        return ()

    def count_done(self, step: int, tasks: range) -> int:
        """See `Source`."""
        del step, tasks
        return 0

    def load_counts(self, steps: Collection[int]) -> Mapping[int, StepCounts]:
        """See `Source`."""
        del steps
        return {}
