"""Fair shares: who was served how much lately, and who is therefore next.

Delivered hours decay with a half-life. Shares form a tree of groups, users and datasets; at every
level the branch with the least usage per weight is served next. Amounts are core-milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

PRIORITY_DOUBLES = 10  # so much more priority is twice the weight among a user's datasets
AGE_DOUBLINGS_MAX = 3
URGENCY_MAX = 4.0  # what a deadline that is due adds at most, as a factor


class Decayed(NamedTuple):
    """An amount that halves every half-life, as it was at a time (UTC microseconds)."""

    amount: float = 0.0
    at_us: int = 0


@dataclass(frozen=True, slots=True)
class Weights:
    """What is configured: weights of groups, and of users ("group/user", or "user" in any group).

    Who is not named has weight 1. `gpu_as_cores`: how many cores one GPU counts as.
    """

    groups: Mapping[str, float] = field(default_factory=dict)
    users: Mapping[str, float] = field(default_factory=dict)
    half_life_us: int = 7 * 86_400_000_000
    gpu_as_cores: float = 16.0
    urgent_us: int = 3 * 86_400_000_000
    age_doubles_us: int = 0  # after which a dataset has twice the weight; 0: never

    def group(self, group: str) -> float:
        """Return the weight of a group."""
        return self.groups.get(group, 1.0)

    def user(self, group: str, user: str) -> float:
        """Return the weight of a user inside a group."""
        return self.users.get(f"{group}/{user}", self.users.get(user, 1.0))


def now(one: Decayed, at_us: int, half_life_us: int) -> float:
    """Return what is left of an amount at a time; a clock that went back decays nothing."""
    passed_us = at_us - one.at_us
    if passed_us <= 0 or not one.amount:
        return one.amount
    return float(one.amount * 0.5 ** (passed_us / half_life_us))


def add(one: Decayed, amount: float, at_us: int, half_life_us: int) -> Decayed:
    """Return an amount with more added to it at a time."""
    return Decayed(now(one, at_us, half_life_us) + amount, max(at_us, one.at_us))


def cores(cpu_milli: int, gpu_milli: int, gpu_as_cores: float) -> float:
    """Return how many cores a task counts as while it runs."""
    return (cpu_milli + gpu_as_cores * gpu_milli) / 1000


def aged(submitted_us: int, now_us: int, age_doubles_us: int) -> float:
    """Return the factor by which a dataset's weight grew since it was submitted."""
    if not age_doubles_us or not submitted_us:
        return 1.0
    return float(2.0 ** min(AGE_DOUBLINGS_MAX, max(0, now_us - submitted_us) / age_doubles_us))


def weight(priority: int, deadline_us: int, now_us: int, urgent_us: int) -> float:
    """Return a dataset's weight among those of its user: priority, and how near its deadline is."""
    factor = float(2.0 ** (priority / PRIORITY_DOUBLES))
    if not deadline_us:
        return factor
    left_us = deadline_us - now_us
    nearness = min(1.0, max(0.0, 1.0 - left_us / urgent_us)) if urgent_us else float(left_us <= 0)
    return factor * (1.0 + (URGENCY_MAX - 1.0) * nearness)
