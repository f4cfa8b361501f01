"""The life of shards at a site: which to offer, which again as a next turn, when all is over."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass

from bundle.ids import DatasetId, LeaseId
from bundle.spool.layout import SealName, ShardName


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One shard of an accepted work bundle. `needs` are shards of the same bundle.

    `start_before_us` is UTC microseconds by the site's clock; 0 is no limit.
    """

    lease: LeaseId
    shard: int
    dataset: DatasetId
    needs: tuple[int, ...]
    tasks: int
    start_before_us: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Leases of one work bundle with nothing left to do: `complete` by a seal, or given `up`."""

    complete: frozenset[LeaseId] = frozenset()
    up: frozenset[LeaseId] = frozenset()

    def all(self) -> frozenset[LeaseId]:
        """Return both."""
        return self.complete | self.up


def plan_offers(
    plans: Iterable[ShardPlan], waiting: Set[ShardName], ended: Ended
) -> tuple[ShardName, ...]:
    """Return the waiting shards that may be claimed now: all they need has a complete seal."""
    plans = tuple(plans)
    complete = {plan.shard for plan in plans if plan.lease in ended.complete}
    ready = {plan.lease for plan in plans if complete.issuperset(plan.needs)}
    return tuple(sorted((one for one in waiting if one.lease in ready), key=str))


def next_turn(shard: ShardName, known: Iterable[ShardName]) -> ShardName | None:
    """Return the shard's next turn, or None where a later one exists."""
    if any(one.lease == shard.lease and one.turn > shard.turn for one in known):
        return None
    return ShardName(shard.lease, shard.turn + 1)


def turns_used(shard: ShardName, seals: Iterable[SealName]) -> int:
    """Return how many turns a shard has had up to this one, all turns of one pilot as one.

    A pilot whose segment is full seals it and goes on with the next turn: that is progress.
    """
    pilots = [one.pilot_run for one in set(seals) if one.shard.lease == shard.lease]
    return shard.turn - (len(pilots) - len(set(pilots)))


def plan_withdrawals(
    plans: Iterable[ShardPlan],
    idle: Iterable[ShardName],
    ended: Ended,
    now_us: int,
    tombstones: Set[DatasetId],
    off: Set[LeaseId] = frozenset(),
) -> tuple[ShardName, ...]:
    """Return the shards, waiting or offered but not held, that nobody may start any more.

    Too late, of a deleted dataset, called `off`, or needing a shard that was given up.
    """
    by_lease = {plan.lease: plan for plan in plans}
    up = {plan.shard for plan in by_lease.values() if plan.lease in ended.up - ended.complete}
    withdrawn = []
    for shard in idle:
        plan = by_lease.get(shard.lease)
        if plan is None:
            continue
        is_late = 0 < plan.start_before_us <= now_us
        is_unwanted = plan.dataset in tombstones or plan.lease in off
        if is_late or is_unwanted or not up.isdisjoint(plan.needs):
            withdrawn.append(shard)
    return tuple(sorted(withdrawn, key=str))


def is_over(plans: Iterable[ShardPlan], ended: Ended) -> bool:
    """Return whether a work bundle has nothing left to run."""
    return ended.all().issuperset(plan.lease for plan in plans)


def tasks_open(works: Iterable[tuple[Iterable[ShardPlan], Ended]]) -> int:
    """Return how many tasks the site holds in shards that have not ended."""
    held = ((plans, ended.all()) for plans, ended in works)
    return sum(plan.tasks for plans, over in held for plan in plans if plan.lease not in over)
