"""How many short tasks a slot is given at once, so that it never waits for the next one.

A slot runs them one after the other; where one turns out to be long, it hands the rest back.
"""

from __future__ import annotations

from pilot.core.durations import Durations, Kind

BATCH_S = 0.025  # of work, about, in one batch
BATCH_TASKS_MAX = 32


class Batching:
    """Who may share a batch, by what tasks of a kind took lately."""

    def __init__(self, durations: Durations) -> None:
        """Trust every kind; what is unknown comes alone all the same."""
        self._durations = durations
        self._alone: set[Kind] = set()

    def distrust(self, kind: Kind) -> None:
        """Give tasks of a kind alone from now on: one of them took its slot down."""
        self._alone.add(kind)

    def tasks_at_once(self, kind: Kind, ready: int, slots: int) -> int:
        """Return how many tasks to give a slot, beginning with one of this kind.

        Args:
            kind: of the first task.
            ready: how many tasks are ready that may stand in one batch with it.
            slots: how many slots share them.
        """
        took_s = self._took_s(kind)
        many = min(BATCH_TASKS_MAX, ready // slots)
        if took_s * many > BATCH_S:
            many = int(BATCH_S / took_s)
        return max(1, many)

    def is_short(self, kind: Kind) -> bool:
        """Return whether a task of this kind may stand behind others in a batch."""
        return self._took_s(kind) < BATCH_S / 2

    def _took_s(self, kind: Kind) -> float:
        known_s = None if kind in self._alone else self._durations.known_s(kind)
        return BATCH_S if known_s is None else known_s
