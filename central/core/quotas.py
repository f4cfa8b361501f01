"""Quotas: how much may be out or delivered for a user or group, and promised to a site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bundle.records.profile import Profile
from central.core.obstacles import Code, Obstacle, amount

HOUR_MS = 3_600_000
UNLIMITED = 2**62


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of one user or group; 0 is none. `core_hours` are those of the last period."""

    tasks_out: int = 0
    core_hours: float = 0.0


@dataclass(frozen=True, slots=True)
class Quotas:
    """What is configured: a quota for everybody, and those of users and groups by name."""

    user: Quota = Quota()
    group: Quota = Quota()
    users: Mapping[str, Quota] = field(default_factory=dict)
    groups: Mapping[str, Quota] = field(default_factory=dict)
    period_days: int = 30

    def of(self, key: str) -> Quota:
        """Return the quota of "user:NAME" or "group:NAME"."""
        kind, _, name = key.partition(":")
        if kind == "user":
            return self.users.get(name, self.user)
        return self.groups.get(name, self.group)

    @property
    def is_set(self) -> bool:
        """Whether anybody has one."""
        return self != Quotas(period_days=self.period_days)


@dataclass(frozen=True, slots=True)
class Spent:
    """What counts against a quota: tasks that are out, and core-milliseconds of the period."""

    tasks_out: int = 0
    delivered_ms: float = 0.0


def left(quotas: Quotas, spent: Mapping[str, Spent]) -> dict[str, int]:
    """Return how many more tasks may go out, by key; who has no quota is not in it."""
    found: dict[str, int] = {}
    for key, one in spent.items():
        quota = quotas.of(key)
        if quota.core_hours and one.delivered_ms >= quota.core_hours * HOUR_MS:
            found[key] = 0
        elif quota.tasks_out:
            found[key] = max(0, quota.tasks_out - one.tasks_out)
    return found


def obstacle(quotas: Quotas, key: str, spent: Spent) -> Obstacle | None:
    """Return what a quota has against one more task."""
    quota = quotas.of(key)
    kind, _, name = key.partition(":")
    code = Code.USER_QUOTA if kind == "user" else Code.GROUP_QUOTA
    who = f"{kind} {name or '(none)'}"
    if quota.core_hours and spent.delivered_ms >= quota.core_hours * HOUR_MS:
        used = amount(round(spent.delivered_ms / HOUR_MS, 1))
        text = f"{who} has used {used} of {amount(quota.core_hours)} core-hours"
        text += f" in {quotas.period_days} days"
        remedy = "wait, or raise the quota under [quotas] in central.toml"
        return Obstacle(code, text, "core-hours", used, remedy)
    if quota.tasks_out and spent.tasks_out >= quota.tasks_out:
        text = f"{who} has {spent.tasks_out} tasks out, of {quota.tasks_out} allowed"
        remedy = "wait until some come back, or raise the quota under [quotas] in central.toml"
        return Obstacle(code, text, "1 task", f"{spent.tasks_out} out", remedy)
    return None


@dataclass(frozen=True, slots=True)
class SiteRoom:
    """What a site's caps leave: tasks, and core-milliseconds (infinite without a cap)."""

    tasks: int = UNLIMITED
    cost: float = float("inf")


def site_room(profile: Profile, leased: int, leased_cost: float, node_cores: float) -> SiteRoom:
    """Return what may still be promised to a site.

    Args:
        profile: with the site's caps.
        leased: how many tasks it has.
        leased_cost: their core-milliseconds, an upper bound.
        node_cores: cores of a node, by which node-hours count.
    """
    tasks, cost = UNLIMITED, float("inf")
    if profile.tasks_max:
        tasks = max(0, profile.tasks_max - leased)
    if profile.node_hours_max_milli:
        allowed = profile.node_hours_max_milli / 1000 * HOUR_MS * node_cores
        cost = max(0.0, allowed - leased_cost)
    return SiteRoom(tasks, cost)
