"""Virtual time around the planner's real cores: sites under saturated demand, shares that follow.

Each round every site takes one bundle; what was promised is delivered after the trip, and halves
every half-life. Nothing decides here but `central.core.order` and `central.core.shares`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from central.core import order, shares
from central.core.order import Candidate, Room, Usage
from central.core.shares import Decayed, Weights

HOUR_US = 3_600_000_000


@dataclass
class Client:
    """One dataset that never runs out of tasks."""

    no: int
    group: str
    user: str
    priority: int
    task_ms: float
    unit: int
    served: Decayed = field(default_factory=Decayed)
    promised: float = 0.0
    delivered: float = 0.0  # undecayed, since counting began
    first_us: int = 0  # when it was served first


@dataclass
class World:
    """Datasets, sites and a clock. `trip_h`: hours until a bundle's results are home.

    Each site takes work for `cores` during a round, however many tasks that is.
    """

    weights: Weights
    clients: list[Client]
    sites: int = 4
    cores: int = 1000
    datasets_max: int = 16
    round_h: float = 1.0
    trip_h: float = 5.0
    now_us: int = 1_700_000_000_000_000
    away: list[tuple[int, int, float]] = field(default_factory=list)

    def run(self, hours: float) -> None:
        """Let time pass."""
        end_us = self.now_us + int(hours * HOUR_US)
        while self.now_us < end_us:
            self._come_home()
            for _ in range(self.sites):
                self._pack()
            self.now_us += int(self.round_h * HOUR_US)

    def _come_home(self) -> None:
        due = [one for one in self.away if one[0] <= self.now_us]
        self.away = [one for one in self.away if one[0] > self.now_us]
        for _, no, cost in due:
            one = self.clients[no]
            one.promised -= cost
            one.delivered += cost
            one.served = shares.add(one.served, cost, self.now_us, self.weights.half_life_us)

    def _pack(self) -> None:
        usage = {
            one.no: shares.now(one.served, self.now_us, self.weights.half_life_us) + one.promised
            for one in self.clients
        }
        tree = Usage(self.weights, ((c.group, c.user, usage[c.no]) for c in self.clients))
        candidates = (
            Candidate(
                c.no,
                c.group,
                c.user,
                shares.weight(c.priority, 0, self.now_us, self.weights.urgent_us),
                usage[c.no],
                10**8,
                c.task_ms,
                c.unit,
                task_seen=c.task_ms,
            )
            for c in self.clients
        )
        room = Room(
            10**7,
            seen=self.cores * self.round_h * 3.6e6,
            portion=10**6,
            datasets_max=self.datasets_max,
        )
        for no, tasks in order.allot(candidates, tree, room).items():
            one = self.clients[no]
            cost = tasks * one.task_ms
            one.promised += cost
            one.first_us = one.first_us or self.now_us
            home_us = self.now_us + int(self.trip_h * HOUR_US)
            self.away.append((home_us, no, cost))


def mixed(datasets: int, users: int, groups: int, seed: int) -> tuple[Weights, list[Client]]:
    """Return datasets of mixed size, of users in groups with mixed weights."""
    chance = random.Random(seed)
    names = [f"group{n}" for n in range(groups)]
    of_user = {f"user{n}": names[n % groups] for n in range(users)}
    weights = Weights(
        groups={name: chance.choice([1.0, 2.0, 3.0]) for name in names},
        users={user: chance.choice([1.0, 1.0, 2.0]) for user in of_user},
        half_life_us=24 * HOUR_US,
    )
    clients = []
    for no in range(datasets):
        user = f"user{no % users}"
        clients.append(
            Client(
                no,
                of_user[user],
                user,
                chance.choice([0, 0, 10]),
                chance.choice([60e3, 600e3, 3600e3, 4 * 3600e3]),
                chance.choice([1, 3, 20]),
            )
        )
    return weights, clients


def configured(weights: Weights, clients: list[Client]) -> dict[tuple[str, ...], float]:
    """Return the share that is configured for every group, user and dataset, by its path."""
    found: dict[tuple[str, ...], float] = {}
    groups = sorted({one.group for one in clients})
    all_groups = sum(weights.group(group) for group in groups)
    for group in groups:
        found[group,] = weights.group(group) / all_groups
        users = sorted({one.user for one in clients if one.group == group})
        all_users = sum(weights.user(group, user) for user in users)
        for user in users:
            found[group, user] = found[group,] * weights.user(group, user) / all_users
            mine = [one for one in clients if one.user == user]
            each = {one.no: 2.0 ** (one.priority / 10) for one in mine}
            for no, weight in each.items():
                share = found[group, user] * weight / sum(each.values())
                found[group, user, str(no)] = share
    return found


def delivered(world: World) -> dict[tuple[str, ...], float]:
    """Return the share of what was delivered (decayed) of every group, user and dataset."""
    found: dict[tuple[str, ...], float] = {}
    half_life_us = world.weights.half_life_us
    amounts = {c.no: shares.now(c.served, world.now_us, half_life_us) for c in world.clients}
    total = sum(amounts.values())
    for one in world.clients:
        share = amounts[one.no] / total
        for path in ((one.group,), (one.group, one.user), (one.group, one.user, str(one.no))):
            found[path] = found.get(path, 0.0) + share
    return found


def worst(world: World, depth: int) -> float:
    """Return the largest relative error of a share at a depth: 1 groups, 2 users, 3 datasets."""
    wanted, got = configured(world.weights, world.clients), delivered(world)
    return max(abs(got[path] / share - 1) for path, share in wanted.items() if len(path) == depth)
