"""The order: deficit round-robin over bundles. Who gets how much of the next bundle, and who waits.

A bundle is filled in portions. Each goes to the dataset that is furthest behind: of all groups the
one with the least usage per weight, in it the user, in that the dataset. What a bundle gave to one
stands in its usage for the next bundle, so shares hold over bundles, and one bundle takes from few
datasets. Every weight is above zero and usage only decays, so whoever waits becomes the least.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from central.core.shares import Weights

INFINITE = float("inf")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A dataset with something to do at the site.

    `usage`: delivered and promised, core-milliseconds. `tasks`: how many may be taken, by cheap
    facts. `unit`: tasks of one whole job at most. Of one task in core-milliseconds: `task_cost` is
    what is expected, `task_seen` the same where it was seen and 0 where not, `task_most` a bound.
    """

    no: int
    group: str
    user: str
    weight: float
    usage: float
    tasks: int
    task_cost: float
    unit: int = 1
    submitted_us: int = 0
    task_seen: float = 0.0
    task_most: float = 0.0


@dataclass(frozen=True, slots=True)
class Room:
    """What a bundle may hold. `portion`: tasks at a time; `datasets_max`: from so many at most.

    `tasks` and `seen` (core-milliseconds by what was seen) may be exceeded by one job; `tasks_hard`
    and `most` (core-milliseconds by bounds) never. A portion costs at most a `datasets_max`-th part
    of `seen`, or, where that is not limited, what `portion` tasks of the middle candidate cost.
    """

    tasks: int
    seen: float = INFINITE
    most: float = INFINITE
    tasks_hard: int = 2**62
    portion: int = 1000
    datasets_max: int = 16


@dataclass(slots=True)
class _Branch:
    """A node of the tree with children in a heap of (usage per weight, age, number)."""

    weight: float
    usage: float = 0.0
    heap: list[tuple[float, int, int]] = field(default_factory=list)


class Usage:
    """The tree over all datasets, those included that have nothing to do: their usage counts."""

    def __init__(self, weights: Weights, used: Iterable[tuple[str, str, float]]) -> None:
        """Sum up (group, user, usage) of every dataset."""
        self.weights = weights
        self.groups: dict[str, float] = {}
        self.users: dict[tuple[str, str], float] = {}
        for group, user, usage in used:
            self.groups[group] = self.groups.get(group, 0.0) + usage
            self.users[group, user] = self.users.get((group, user), 0.0) + usage


def allot(
    candidates: Iterable[Candidate],
    usage: Usage,
    room: Room,
    quota: Mapping[str, int] | None = None,
) -> dict[int, int]:
    """Return how many tasks each dataset gets, by number, in the order in which they came up.

    Args:
        candidates: whoever has something to do at the site.
        usage: the tree's usage before this bundle.
        room: what the bundle holds; one whole job always fits.
        quota: tasks that may still go out, by "user:NAME" or "group:NAME"; others are unlimited.
    """
    rows = list(candidates)
    tree = _Tree(rows, usage)
    filling = _Filling(room, dict(quota or {}), _portion_cost(rows, room))
    while filling.is_open and (one := tree.least()) is not None:
        number = filling.portion_of(one)
        if number <= 0:
            tree.drop()
            continue
        filling.take(one, number)
        more = filling.taken[one.no] < one.tasks
        tree.charge(number * one.task_cost, more=more)
    return filling.taken


@dataclass(slots=True)
class _Filling:
    """A bundle being filled: what was taken, and what of it the limits leave."""

    room: Room
    quota: dict[str, int]
    portion_cost: float
    taken: dict[int, int] = field(default_factory=dict)
    tasks: int = 0
    seen: float = 0.0
    most: float = 0.0

    @property
    def is_open(self) -> bool:
        return self.tasks < self.room.tasks and self.seen < self.room.seen

    def portion_of(self, one: Candidate) -> int:
        """Return how many tasks of a dataset come next; 0 or less: none in this bundle."""
        room = self.room
        if one.no not in self.taken and len(self.taken) >= room.datasets_max:
            return 0
        limits = [self.quota[key] for key in quota_keys(one.user, one.group) if key in self.quota]
        hard = min(one.tasks - self.taken.get(one.no, 0), room.tasks_hard - self.tasks, *limits)
        if one.task_most > 0 and room.most < INFINITE:
            hard = min(hard, int((room.most - self.most) // one.task_most))
        number = min(room.portion, room.tasks - self.tasks)
        if one.task_seen > 0:  # else its cost is what it asked for, which is often far too much
            number = min(number, int(self.portion_cost // one.task_cost))
        if one.task_seen > 0 and room.seen < INFINITE:
            number = min(number, -int(-(room.seen - self.seen) // one.task_seen))
        return min(max(number, one.unit), hard)

    def take(self, one: Candidate, number: int) -> None:
        self.taken[one.no] = self.taken.get(one.no, 0) + number
        self.tasks += number
        self.seen += number * one.task_seen
        self.most += number * one.task_most
        for key in quota_keys(one.user, one.group):
            if key in self.quota:
                self.quota[key] -= number


def _portion_cost(candidates: list[Candidate], room: Room) -> float:
    if room.seen < INFINITE:
        return room.seen / room.datasets_max
    costs = sorted(one.task_cost for one in candidates)
    return room.portion * costs[len(costs) // 2] if costs else INFINITE


def quota_keys(user: str, group: str) -> tuple[str, str]:
    """Return the keys under which a dataset's tasks count against quotas."""
    return f"user:{user}", f"group:{group}"


def ranking(candidates: Iterable[Candidate], usage: Usage) -> list[int]:
    """Return all candidates by who would be served first, each once: for words, not for plans."""
    tree = _Tree(candidates, usage)
    found: list[int] = []
    while (one := tree.least()) is not None:
        found.append(one.no)
        tree.charge(max(one.task_cost * one.unit, 1.0), more=False)
    return found


class _Tree:
    """Groups over users over datasets; `least` leaves the path on which `charge` and `drop` act."""

    def __init__(self, candidates: Iterable[Candidate], usage: Usage) -> None:
        self._of: dict[int, Candidate] = {}
        self._used: dict[int, float] = {}
        names: dict[str, dict[str, list[Candidate]]] = {}
        for one in candidates:
            self._of[one.no], self._used[one.no] = one, one.usage
            names.setdefault(one.group, {}).setdefault(one.user, []).append(one)
        self._groups: list[_Branch] = []
        self._users: list[_Branch] = []
        self._top: list[tuple[float, int, int]] = []
        for group in sorted(names):
            branch = _Branch(usage.weights.group(group), usage.groups.get(group, 0.0))
            oldest = 2**63
            for user in sorted(names[group]):
                rows = names[group][user]
                below = _Branch(
                    usage.weights.user(group, user), usage.users.get((group, user), 0.0)
                )
                below.heap = [(c.usage / c.weight, c.submitted_us, c.no) for c in rows]
                heapify(below.heap)
                age = min(c.submitted_us for c in rows)
                branch.heap.append((below.usage / below.weight, age, len(self._users)))
                self._users.append(below)
                oldest = min(oldest, age)
            heapify(branch.heap)
            self._top.append((branch.usage / branch.weight, oldest, len(self._groups)))
            self._groups.append(branch)
        heapify(self._top)

    def least(self) -> Candidate | None:
        """Return who is furthest behind; None where nobody is left."""
        if not self._top:
            return None
        group = self._groups[self._top[0][2]]
        user = self._users[group.heap[0][2]]
        return self._of[user.heap[0][2]]

    def drop(self) -> None:
        """Take the least one out of this bundle."""
        self.charge(0.0, more=False)

    def charge(self, cost: float, *, more: bool) -> None:
        """Add to the usage of the least one and of all above it; `more`: it may get more still."""
        _, group_age, group_at = heappop(self._top)
        group = self._groups[group_at]
        _, user_age, user_at = heappop(group.heap)
        user = self._users[user_at]
        _, age, no = heappop(user.heap)
        self._used[no] += cost
        user.usage += cost
        group.usage += cost
        if more:
            heappush(user.heap, (self._used[no] / self._of[no].weight, age, no))
        if user.heap:
            heappush(group.heap, (user.usage / user.weight, user_age, user_at))
        if group.heap:
            heappush(self._top, (group.usage / group.weight, group_age, group_at))
