"""How many short tasks a slot is given at once, so that it never waits for the next one.

A slot runs them one after the other; where one turns out to be long, it hands the rest back.
"""

from __future__ import annotations

BATCH_S = 0.012  # of work, about, in one batch
BATCH_TASKS_MAX = 16
WEIGHT = 0.3  # of the newest duration


class Durations:
    """What tasks of a kind took lately, from stage-in to stage-out. A kind is (shard, step)."""

    def __init__(self) -> None:
        """Know nothing: what is unknown comes alone."""
        self._seconds: dict[tuple[int, int], float] = {}
        self._alone: set[tuple[int, int]] = set()

    def note(self, kind: tuple[int, int], took_s: float) -> None:
        """Take note of one duration."""
        if kind in self._alone:
            return
        known = self._seconds.get(kind, took_s)
        self._seconds[kind] = known + WEIGHT * (took_s - known)

    def distrust(self, kind: tuple[int, int]) -> None:
        """Give tasks of a kind alone from now on: one of them took its slot down."""
        self._alone.add(kind)
        self._seconds[kind] = BATCH_S

    def tasks_at_once(self, kind: tuple[int, int], ready: int, slots: int) -> int:
        """Return how many tasks to give a slot, beginning with one of this kind.

        Args:
            kind: of the first task.
            ready: how many tasks are ready.
            slots: how many slots share them.
        """
        took_s = self._seconds.get(kind, BATCH_S)
        many = min(BATCH_TASKS_MAX, ready // slots)
        if took_s * many > BATCH_S:
            many = int(BATCH_S / took_s)
        return max(1, many)

    def is_short(self, kind: tuple[int, int]) -> bool:
        """Return whether a task of this kind may stand behind others in a batch."""
        return self._seconds.get(kind, BATCH_S) < BATCH_S / 2
