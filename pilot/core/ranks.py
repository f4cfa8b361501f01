"""How urgent a task is: the chain that hangs on it, against all that is left to do on the node.

As long as much more is left than the longest chain, no order makes the end come earlier, and what
counts is that whole jobs end. Only chains that could outlast the rest go first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bundle.dataset import graph
from bundle.dataset.spec import Dataset
from pilot.core.durations import Durations, Kind
from pilot.core.room import Need, Room

LONG_SHARE = 0.05  # of all that is left: a chain as long as this is urgent


_HALF = 0.5
_GPU = 3  # the place of GPUs among cores, memory, disk and them


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
    resumes: Sequence[bool] = ()  # what of a task is left can be done elsewhere
    took_us: list[int] = field(default_factory=list)
    rank_us: list[int] = field(default_factory=list)
    queue_us: list[float] = field(default_factory=list)
    shares: list[tuple[float, ...]] = field(default_factory=list)

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


def long_us(plans: Sequence[Plan], node: Room, slots: int) -> float:
    """Return how long the node is busy at least with what is left, whichever resource is short.

    Sets `queue_us` of every plan: how long the line is in which the tasks of a step stand. Tasks
    that take more than half of something run one after the other, and those that need a GPU share
    few of them; such a line is a chain too, though no edge says so.
    """
    busy = [0.0] * 5
    lines = [0.0] * 4
    for plan in plans:
        plan.shares = plan.shares or [_shares(need, node) for need in plan.needs]
        for step, many in enumerate(plan.left):
            if many:
                time_us = many * plan.took_us[step]
                for number, share in enumerate(plan.shares[step]):
                    busy[number] += time_us * share
                    if share > _HALF:
                        lines[number] += time_us
                busy[4] += time_us
    lines[_GPU] = busy[_GPU]
    for plan in plans:
        plan.queue_us = [_queue_us(shares, lines) for shares in plan.shares]
    busy[4] /= slots or 1
    return max(busy if slots else busy[:4])


def _shares(need: Need, node: Room) -> tuple[float, ...]:
    return (
        need.cpu_milli / max(node.cpu_milli, 1),
        need.memory_mib / max(node.memory_mib, 1),
        need.disk_bytes / max(node.disk_bytes, 1),
        need.gpu_milli / (1000 * max(len(node.gpus), 1)),
    )


def _queue_us(shares: Sequence[float], lines: Sequence[float]) -> float:
    in_line = [one for share, one in zip(shares, lines, strict=True) if share > _HALF]
    in_line += [lines[_GPU]] if shares[_GPU] else [0.0]
    return max(in_line)


def levels_of(dataset: Dataset) -> list[int]:
    """Return for each step how many steps lie above it at most."""
    levels = [0] * len(dataset.steps)
    for step in graph.order(dataset):
        levels[step] = 1 + max((levels[parent] for parent in dataset.steps[step].needs), default=-1)
    return levels
