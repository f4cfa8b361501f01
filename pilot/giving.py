"""What a free slot is given: the task that packing chose, and short ones behind it."""

from __future__ import annotations

from collections.abc import Mapping

from pilot.attempts import OpenShard
from pilot.core.agenda import Start
from pilot.core.batching import Batching
from pilot.core.packing import Chosen, Packing
from pilot.staging.flow import Flow

Given = tuple[OpenShard, Start]


class Giving:
    """Begins the tasks of one batch."""

    def __init__(self, packing: Packing, batching: Batching, flow: Flow, slots: int) -> None:
        """Share what decides; `slots`: how many slots share the tasks."""
        self._packing, self._batching, self._flow = packing, batching, flow
        self._slots = slots

    def batch(
        self, shards: Mapping[int, OpenShard], first: Chosen, now_us: int, end_us: int
    ) -> list[Given]:
        """Return the tasks for a slot: those behind the first are short and need the same.

        Nothing where the files of the first were given up.
        """

        def is_short(key: int, step: int) -> bool:
            return self._batching.is_short((shards[key].claimed.lease.dataset, step))

        shard = shards[first[0]]
        given = self._began(shard, first)
        if not given or given[0][1].alone:
            return given
        need = given[0][1].need
        kind, ready = (shard.claimed.lease.dataset, first[1]), self._packing.ready(need)
        many = self._batching.tasks_at_once(kind, ready + 1, self._slots)
        while len(given) < many:
            chosen = self._packing.more(need, is_short, now_us, end_us)
            if chosen is None:
                break
            given += self._began(shards[chosen[0]], chosen)
        return given

    def _began(self, shard: OpenShard, chosen: Chosen) -> list[Given]:
        """Begin a task that was chosen, unless its files were given up: then it waits again."""
        start = shard.agenda.begin(chosen[1:])
        if self._flow.is_lost(chosen):
            shard.agenda.put_back(start.place)
            return []
        self._flow.starts(chosen)
        return [(shard, start)]
