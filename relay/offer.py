"""Offering shards: a rename from `work/<id>/waiting/` into `claimable/`, so exactly once."""

from __future__ import annotations

import contextlib

from bundle.ids import BundleId, LeaseId
from bundle.spool import publish
from bundle.spool.layout import ShardName
from relay import calling_off, state, works
from relay.core import shards
from relay.home import Home, now_us
from relay.turns import Turns
from relay.works import Work


def offer(home: Home, live: list[Work]) -> int:
    """Offer every shard whose needs are met, take back what nobody may start; return the count.

    Safe to repeat and to run twice at once: of two renames one finds the file gone.
    """
    offered = 0
    claimable = home.spool.folder("claimable")
    lying = set(works.shards_in(claimable))
    tombstones = state.read_central(home.spool).tombstones
    off = calling_off.read(home.spool)
    for work in live:
        waiting = works.waiting(home.spool, work.id)
        leases = {plan.lease for plan in work.plans}
        idle = waiting | {shard for shard in lying if shard.lease in leases}
        if not idle:
            continue
        ended = works.ended(home.spool, work.id)
        about = (now_us(), tombstones, off)
        withdrawn = shards.plan_withdrawals(work.plans, idle, ended, *about)
        for shard in withdrawn:
            _withdraw(home, work.id, shard)
        for shard in shards.plan_offers(work.plans, waiting - set(withdrawn), ended):
            source = works.waiting_file(home.spool, work.id, shard)
            offered += publish.claim(source, home.spool.claimable(shard))
    if offered:
        publish.fsync_folder(claimable)
    return offered


def offer_again(home: Home, work: Work, shard: ShardName, turns: Turns) -> None:
    """Let the shard's next turn wait to be offered, unless a later one is known.

    A shard that has used up its turns is given up.
    """
    plan = work.plan_of(shard.lease)
    if plan is None or works.is_complete(home.spool, work.id, shard.lease):
        return
    following = turns.following(shard)
    if following is None:
        return
    if turns.used(shard) < home.config.pilots.turns_max:
        works.set_waiting(home.spool, work.id, plan, following)
        turns.note(following)
    else:
        works.note_ended(home.spool, work.id, shard.lease, complete=False)


def _withdraw(home: Home, bundle: BundleId, shard: ShardName) -> None:
    """Give a shard up: first the mark, then the file, so that a crash loses neither."""
    works.note_ended(home.spool, bundle, LeaseId(shard.lease), complete=False)
    for path in (works.waiting_file(home.spool, bundle, shard), home.spool.claimable(shard)):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
