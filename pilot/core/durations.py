"""What tasks of a kind took lately on this node, which is the best guess for the next one."""

from __future__ import annotations

from collections.abc import Hashable

WEIGHT = 0.3  # of the newest duration
CHANGE = 0.2  # a guess that moved by more is news to whoever planned with it
SPREADS = 3  # so many mean deviations beyond the guess nearly every task has ended

Kind = Hashable
"""Whose tasks take about the same time: (dataset, step)."""


class Durations:
    """Guesses from stage-in to stage-out, by kind. `version` grows when one of them is news."""

    def __init__(self) -> None:
        """Know nothing."""
        self.version = 0
        self._seconds: dict[Kind, tuple[float, float]] = {}  # guess, mean deviation from it
        self._told: dict[Kind, float] = {}

    def note(self, kind: Kind, took_s: float) -> None:
        """Take note of one duration."""
        known = self._seconds.get(kind)
        if known is None:
            guess, spread = took_s, took_s / 4
        else:
            guess = known[0] + WEIGHT * (took_s - known[0])
            spread = known[1] + WEIGHT * (abs(took_s - known[0]) - known[1])
        self._seconds[kind] = guess, spread
        told = self._told.get(kind)
        if told is None or abs(guess - told) > CHANGE * told:
            self._told[kind] = guess
            self.version += 1

    def known_s(self, kind: Kind) -> float | None:
        """Return what the next task of a kind will take, in seconds; None where none ended yet."""
        known = self._seconds.get(kind)
        return None if known is None else known[0]

    def safe_s(self, kind: Kind) -> float | None:
        """Return in how many seconds nearly every task of a kind ends; None as above."""
        known = self._seconds.get(kind)
        return None if known is None else known[0] + SPREADS * known[1]
