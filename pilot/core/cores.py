"""Which cores a task runs on: whole ones of its own, near each other, as long as there are."""

from __future__ import annotations

from collections.abc import Iterable

from pilot.core.node import Core

CORE_MILLI = 1000


class Cores:
    """The cores of a node and how much of each is given away. Changes in place."""

    def __init__(self, cores: Iterable[Core]) -> None:
        """Begin with every core free."""
        ordered = sorted(cores, key=lambda one: (one.numa, one.number))
        self._node_of = {one.number: one.numa for one in ordered}
        self._taken = dict.fromkeys(self._node_of, 0)

    def take(self, cpu_milli: int) -> tuple[int, ...]:
        """Return the cores for a task, ascending; give the same back when it ended.

        Whole cores come from the NUMA node that they fill best, else from the one with most left.
        A part of a core comes from one that is taken in part already. Where no core is free
        enough, the least taken is shared.
        """
        whole, part = divmod(cpu_milli, CORE_MILLI)
        chosen: list[int] = []
        while len(chosen) < whole:
            chosen += self._near(whole - len(chosen), chosen) or self._least_taken(
                whole - len(chosen), chosen
            )
            if len(chosen) >= len(self._taken):
                break
        if part and len(chosen) < len(self._taken):
            chosen.append(self._for_part(part, chosen))
        for number, milli in _amounts(chosen, cpu_milli):
            self._taken[number] += milli
        return tuple(chosen)

    def give_back(self, chosen: tuple[int, ...], cpu_milli: int) -> None:
        """Take back what was given."""
        for number, milli in _amounts(chosen, cpu_milli):
            self._taken[number] -= milli

    def _near(self, many: int, but: list[int]) -> list[int]:
        """Return free cores of one NUMA node, at most so many; none where none is free."""
        free: dict[int, list[int]] = {}
        for number, taken in self._taken.items():
            if not taken and number not in but:
                free.setdefault(self._node_of[number], []).append(number)
        if not free:
            return []
        enough = [one for one in free.values() if len(one) >= many]
        return (min(enough, key=len) if enough else max(free.values(), key=len))[:many]

    def _least_taken(self, many: int, but: list[int]) -> list[int]:
        left = [number for number in self._taken if number not in but]
        return sorted(left, key=lambda number: self._taken[number])[:many]

    def _for_part(self, part: int, but: list[int]) -> int:
        left = [number for number in self._taken if number not in but]
        fitting = [number for number in left if self._taken[number] + part <= CORE_MILLI]
        if fitting:
            return max(fitting, key=lambda number: self._taken[number])
        return min(left, key=lambda number: self._taken[number])


def _amounts(chosen: tuple[int, ...] | list[int], cpu_milli: int) -> list[tuple[int, int]]:
    """Return how much of each chosen core a task takes; the last one's is what is left."""
    if not chosen:
        return []
    amounts = [(number, CORE_MILLI) for number in chosen[:-1]]
    return [*amounts, (chosen[-1], cpu_milli - CORE_MILLI * (len(chosen) - 1))]
