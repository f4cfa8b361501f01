"""Which turns of which shards are known, looked up once for many shards.

In the order in which files move, and only when the first is asked for: a pilot makes a later turn
known before it seals an earlier one, so whoever has seen a seal must look after that.
"""

from __future__ import annotations

from collections.abc import Iterable

from bundle.ids import LeaseId
from bundle.spool.layout import SealName, ShardName, Spool
from relay import works
from relay.core import shards
from relay.listing import names
from relay.works import Work


class Turns:
    """Of one spool, for as long as one walk through seals or dead pilots takes."""

    def __init__(self, spool: Spool, live: Iterable[Work]) -> None:
        """Look at nothing yet. `live`: the work bundles whose shards will be asked for."""
        self._spool, self._live = spool, tuple(live)
        self._known: dict[LeaseId, set[ShardName]] | None = None
        self._seals: dict[LeaseId, set[SealName]] = {}

    def following(self, shard: ShardName) -> ShardName | None:
        """Return the shard's next turn, or None where a later one is known."""
        return shards.next_turn(shard, self._look().get(shard.lease, ()))

    def leaves_trace(self, lease: LeaseId) -> bool:
        """Return whether any turn of a lease's shard is known."""
        return lease in self._look()

    def used(self, shard: ShardName) -> int:
        """Return how many turns a shard has had up to this one."""
        self._look()
        return shards.turns_used(shard, self._seals.get(shard.lease, ()))

    def note(self, shard: ShardName) -> None:
        """Take note of a turn that waits from now on."""
        self._look().setdefault(shard.lease, set()).add(shard)

    def _look(self) -> dict[LeaseId, set[ShardName]]:
        """A file that moves while this looks is met once at least, for it only moves onwards."""
        if self._known is not None:
            return self._known
        spool = self._spool
        found: set[ShardName] = set()
        for work in self._live:
            found |= works.waiting(spool, work.id)
        found.update(works.shards_in(spool.folder("claimable")))
        for pilot in names(spool.folder("claimed")):
            found.update(works.shards_in(spool.folder("claimed") / pilot))
        for seal in works.seals(spool, (work.id for work in self._live)):
            self._seals.setdefault(seal.shard.lease, set()).add(seal)
            found.add(seal.shard)
        self._known = {}
        for shard in found:
            self._known.setdefault(shard.lease, set()).add(shard)
        return self._known
