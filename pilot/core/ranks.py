"""How urgent a task is: the chain that hangs on it, against all that is left to do on the node.

As long as much more is left than the longest chain, no order makes the end come earlier, and what
counts is that whole jobs end. Only chains that could outlast the rest go first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pilot.core.durations import Durations, Kind
from pilot.core.room import Need, Room

LONG_SHARE = 0.25  # of all that is left: a chain as long as this is urgent


@dataclass(slots=True)
class Plan:
    """One shard as packing sees it, by step. `left` changes in place: tasks that may yet run.

    `order` has parents before children. What follows is set by `estimate`, in microseconds: what a
    task of a step will take, and with the longest chain of steps behind it.
    """

    kinds: Sequence[Kind]
    needs: Sequence[Need]
    walltimes_us: Sequence[int]
    children: Sequence[Sequence[int]]
    order: Sequence[int]
    levels: Sequence[int]
    left: list[int]
    took_us: list[int] = field(default_factory=list)
    rank_us: list[int] = field(default_factory=list)

    def estimate(self, durations: Durations) -> None:
        """Guess afresh: what was learned, else the walltime as far as others keep to theirs."""
        known = [durations.known_s(kind) for kind in self.kinds]
        pairs = zip(known, self.walltimes_us, strict=True)
        kept = [1e6 * took_s / (wall_us or 1) for took_s, wall_us in pairs if took_s is not None]
        share = min(1.0, max(kept)) if kept else 1.0
        self.took_us = [
            round(share * wall_us) if took_s is None else round(1e6 * took_s)
            for took_s, wall_us in zip(known, self.walltimes_us, strict=True)
        ]
        self.rank_us = list(self.took_us)
        for step in reversed(self.order):
            behind = max((self.rank_us[child] for child in self.children[step]), default=0)
            self.rank_us[step] += behind


def left_us(plans: Iterable[Plan], node: Room, slots: int) -> float:
    """Return how long the node is busy at least with what is left, whichever resource is short."""
    cpu = memory = disk = gpu = seats = 0.0
    for plan in plans:
        for step, many in enumerate(plan.left):
            if many:
                time_us, need = many * plan.took_us[step], plan.needs[step]
                seats += time_us
                cpu += time_us * need.cpu_milli
                memory += time_us * need.memory_mib
                disk += time_us * need.disk_bytes
                gpu += time_us * need.gpu_milli
    return max(
        cpu / max(node.cpu_milli, 1),
        memory / max(node.memory_mib, 1),
        disk / max(node.disk_bytes, 1),
        gpu / (1000 * len(node.gpus)) if node.gpus else 0.0,
        seats / slots if slots else 0.0,
    )
