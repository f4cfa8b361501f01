"""Which task starts next: of all open shards of a pilot, by kind, within room and time.

A *kind* is the ready tasks of one step of one shard that ask for the same; kinds that need the same
of the node and take about as long share a *shelf*, a heap. A decision looks at the best of each
shelf, so it costs the shelves and not the tasks.

What is best: tasks under which pilots were lost last; then urgent chains, the longest first; then
shard by shard and job by job, depth first. The best one that fits starts, but a better one that
does not fit has a promise: nothing overtakes it that would still be in its way when, by what is
known of the running tasks, there is room for it.

A task whose files are brought ahead starts only once they are here (`pilot.core.ahead`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet
from heapq import heapify, heappop, heappush

from pilot.core.durations import Durations
from pilot.core.promises import Promises
from pilot.core.ranks import LONG_SHARE, Plan, long_us
from pilot.core.room import Grant, Need, Room
from pilot.core.shelves import Key, Kind, Shard, Shelf

REFRESH_US = 1_000_000  # and more for many steps: the order is made again at most so often
REFRESH_US_PER_STEP = 1_000

Chosen = tuple[int, int, int]
"""Shard, step and job of the task to start."""


class Packing:
    """The ready tasks of a pilot. Changes in place, but decides from its arguments alone."""

    def __init__(
        self,
        node: Room,
        durations: Durations | None = None,
        slots: int = 0,
        resumed_us: int = 0,
        *,
        stages: bool = False,
    ) -> None:
        """Begin with nothing ready. `slots`: how many tasks run at once; 0 where room decides.

        `resumed_us`: tasks that leave checkpoints start up to so long before the end, for others
        can go on with them; 0: only where they can end in time, as all. `stages`: whether
        somebody brings files ahead.
        """
        self._resumed_us = resumed_us
        self.stages, self.lacking = stages, 0  # ready tasks whose files are not here
        self.durations = Durations() if durations is None else durations
        self._node, self._slots = node, slots
        self._shards: dict[int, Shard] = {}
        self._shelves: dict[tuple[Need, bool, int, bool], Shelf] = {}
        self._promises = Promises()
        self._ready: dict[Need, int] = {}
        self._numbers = 0
        self._long_us = 0.0  # a chain as long as this is urgent
        self._stale, self._version, self._made_us = True, -1, 0

    # -- what there is -------------------------------------------------------------------

    def add(self, key: int, plan: Plan, start_before_us: int = 0) -> None:
        """Open a shard. Keys ascend with age."""
        plan.estimate(self.durations)
        plan.queue_us = [0.0] * len(plan.left)
        self._shards[key] = Shard(key, plan, start_before_us)
        self._stale = True

    def drop(self, key: int) -> None:
        """Close a shard; what of it is ready starts no more."""
        for kind in self._shards.pop(key).kinds.values():
            self._ready[kind.need] -= len(kind.jobs)
            self.lacking -= len(kind.jobs) * kind.lacks_files
            kind.jobs.clear()

    def recall(self, key: int, steps: Collection[int]) -> list[tuple[int, int, Need]]:
        """Take back the ready tasks of some steps: step, job and need of each, as it was pushed.

        The shard's plan may be changed until they are pushed again.
        """
        shard = self._shards[key]
        found: list[tuple[int, int, Need]] = []
        for alike, kind in list(shard.kinds.items()):
            if kind.step not in steps:
                continue
            found += ((kind.step, job, kind.need) for job in kind.jobs)
            self._ready[kind.need] -= len(kind.jobs)
            self.lacking -= len(kind.jobs) * kind.lacks_files
            kind.jobs.clear()
            del shard.kinds[alike]
        return found

    def replanned(self, key: int) -> None:
        """Take note that a shard's plan was changed."""
        plan = self._shards[key].plan
        plan.shares = []
        plan.estimate(self.durations)
        self._stale = True

    def forget(self, key: int, step: int, jobs: AbstractSet[int]) -> None:
        """Have tasks of a step start no more, as far as they are ready."""
        for kind in self._shards[key].kinds.values():
            left = [job for job in kind.jobs if job not in jobs] if kind.step == step else kind.jobs
            if len(left) < len(kind.jobs):
                self._ready[kind.need] -= len(kind.jobs) - len(left)
                self.lacking -= (len(kind.jobs) - len(left)) * kind.lacks_files
                heapify(left)
                kind.jobs = left
                if left:
                    self._shelve(kind)

    def close(self, key: int) -> None:
        """Let nothing more of a shard start."""
        self._shards[key].start_before_us = 1

    def push(
        self,
        key: int,
        step: int,
        job: int,
        need: Need,
        walltime_us: int,
        losses: int,
        suspect: bool,
        *,
        lacks_files: bool = False,
    ) -> None:
        """Make a task ready; one that lacks files comes again once they are here."""
        shard = self._shards[key]
        self.lacking += lacks_files
        alike = (step, need, walltime_us, losses, suspect, lacks_files)
        kind = shard.kinds.get(alike)
        if kind is None:
            self._numbers += 1
            kind = Kind(self._numbers, shard, *alike)
            shard.kinds[alike] = kind
            self._judge(kind)
        heappush(kind.jobs, job)
        self._ready[need] = self._ready.get(need, 0) + 1
        if kind.jobs[0] == job:
            self._shelve(kind)

    def started(self, slot: int, grant: Grant, now_us: int, took_us: int, latest_us: int) -> None:
        """Take note that a slot was given work: what it was granted, and for how long."""
        latest_us = now_us + max(took_us, latest_us)
        self._promises.started(slot, grant, now_us + took_us, latest_us)

    def ended(self, slot: int) -> None:
        """Take note that a slot has none any more."""
        self._promises.ended(slot)

    def may_start(self, key: int, now_us: int, end_us: int = 0) -> bool:
        """Return whether any ready task of a shard can still be started on this node."""
        kinds = self._shards[key].kinds.values()
        return any(kind.jobs and self._is_possible(kind, now_us, end_us) for kind in kinds)

    def is_in_time(self, key: int, step: int, latest_us: int, now_us: int, end_us: int) -> bool:
        """Return whether a task that may run so long can still be started, by lease and end."""
        return self._is_in_time(self._shards[key], step, latest_us, now_us, end_us)

    # -- what is next --------------------------------------------------------------------

    def next(
        self, room: Room, now_us: int, *, end_us: int = 0, suspect_runs: bool = False
    ) -> Chosen | None:
        """Take the task to start next in the room that is left, or None.

        `end_us` is when the allocation ends, 0 if ever: nothing starts that cannot end before.
        `suspect_runs`: a suspect runs on the node, so that none joins it.
        """
        self._put_in_order(now_us, end_us)
        fitting: list[tuple[bool, Key, Kind, Shelf]] = []
        first: tuple[bool, Key, Need] | None = None  # of those without room
        for shelf in self._shelves.values():
            if shelf.lacks_files or (suspect_runs and shelf.suspect):
                continue
            head = self._head(shelf, now_us, end_us)
            if head is None:
                continue
            patient = self._promises.is_patient(shelf.need)
            if room.fits(shelf.need):
                fitting.append((patient, *head, shelf))
            elif first is None or (patient, head[0]) < first[:2]:
                first = patient, head[0], shelf.need
        fitting.sort(key=lambda one: one[:2])
        for patient, key, kind, shelf in fitting:
            if first is None:
                return self._taken(kind, shelf)
            if (patient, key) < first[:2]:
                self._promises.outranked(first[2])
                return self._taken(kind, shelf)
            took_us = (kind.shard.plan.took_us[kind.step], kind.latest_us)
            if self._promises.overtaken(first[2], kind.need, took_us, room, now_us):
                return self._taken(kind, shelf)
        return None

    def more(
        self, need: Need, may: Callable[[int, int], bool], now_us: int, end_us: int = 0
    ) -> Chosen | None:
        """Take the best task that needs exactly this too and under which no pilot was lost.

        None where there is none, or where shard and step of the best are not what `may` allows.
        """
        best: tuple[Key, Kind, Shelf] | None = None
        for shelf in self._shelves.values():
            if shelf.lacks_files or shelf.need != need:
                continue
            if head := self._head(shelf, now_us, end_us):
                best = (*head, shelf) if best is None or head[0] < best[0] else best
        if best is None or best[1].losses or not may(best[1].shard.key, best[1].step):
            return None
        return self._taken(best[1], best[2])

    def next_to_bring(
        self, may: Callable[[Chosen, Need, bool], bool], now_us: int, end_us: int = 0
    ) -> Chosen | None:
        """Take the best of those that lack files and may come; `may` hears which one is best."""
        self._put_in_order(now_us, end_us)
        shelves = [one for one in self._shelves.values() if one.lacks_files]
        heads = [(*head, one) for one in shelves if (head := self._head(one, now_us, end_us))]
        heads.sort(key=lambda head: head[0])
        for place, (_, kind, shelf) in enumerate(heads):
            if may((kind.shard.key, kind.step, kind.jobs[0]), kind.need, place == 0):
                self.lacking -= 1
                return self._taken(kind, shelf)
        return None

    def ready(self, need: Need) -> int:
        """Return how many tasks with exactly this need are ready."""
        return self._ready.get(need, 0)

    def _taken(self, kind: Kind, shelf: Shelf) -> Chosen:
        job = heappop(kind.jobs)
        self._ready[kind.need] -= 1
        if kind.jobs:
            heappush(shelf.heap, (kind.key(), kind))
        self._promises.kept(kind.need)
        return kind.shard.key, kind.step, job

    def _head(self, shelf: Shelf, now_us: int, end_us: int) -> tuple[Key, Kind] | None:
        """Return the best task of a shelf that can end in time; lay aside what cannot."""
        heap = shelf.heap
        while heap:
            key, kind = heap[0]
            if kind.jobs and kind.shelf is shelf and kind.jobs[0] == key[3]:
                if self._is_possible(kind, now_us, end_us):
                    return heap[0]
                kind.shelf = None  # until the order is made again
            heappop(heap)
        return None

    def _is_possible(self, kind: Kind, now_us: int, end_us: int) -> bool:
        started = (kind.shard, kind.step, kind.latest_us)
        return self._is_in_time(*started, now_us, end_us) and self._node.fits(kind.need)

    def _is_in_time(
        self, shard: Shard, step: int, latest_us: int, now_us: int, end_us: int
    ) -> bool:
        if 0 < shard.start_before_us <= now_us:
            return False
        if end_us and now_us + self._safe_us(shard, step, latest_us) > end_us:
            resumes = shard.plan.resumes
            if not (self._resumed_us and resumes and resumes[step]):
                return False
            return now_us + self._resumed_us <= end_us
        return True

    def _safe_us(self, shard: Shard, step: int, latest_us: int) -> int:
        safe_s = self.durations.safe_s(shard.plan.kinds[step])
        return latest_us if safe_s is None else min(latest_us, round(1e6 * safe_s))

    # -- the order -----------------------------------------------------------------------

    def took_us(self, key: int, step: int) -> int:
        """Return what a task will take, as far as is known."""
        return self._shards[key].plan.took_us[step]

    def _put_in_order(self, now_us: int, end_us: int) -> None:
        """Make the order again where what it rests on changed, but seldom."""
        if not self._stale:
            steps = sum(len(shard.plan.left) for shard in self._shards.values())
            if now_us < self._made_us + REFRESH_US + REFRESH_US_PER_STEP * steps:
                return
        plans = [shard.plan for shard in self._shards.values()]
        if self._version != self.durations.version:
            for plan in plans:
                plan.estimate(self.durations)
        busy_us = long_us(plans, self._node, self._slots)
        if end_us:
            busy_us = min(busy_us, max(end_us - now_us, 0))
        self._long_us = LONG_SHARE * busy_us
        self._stale, self._version, self._made_us = False, self.durations.version, now_us
        self._shelves = {}
        for shard in self._shards.values():
            for alike, kind in list(shard.kinds.items()):
                if not kind.jobs:
                    del shard.kinds[alike]
                    continue
                self._judge(kind)
                self._shelve(kind)

    def _judge(self, kind: Kind) -> None:
        plan, step = kind.shard.plan, kind.step
        chains = (plan.rank_us[step], plan.queue_us[step])
        kind.urgency = -round(sum(one for one in chains if one >= self._long_us))

    def _shelve(self, kind: Kind) -> None:
        took_us = kind.shard.plan.took_us[kind.step]
        alike = (kind.need, kind.suspect, took_us.bit_length(), kind.lacks_files)
        shelf = self._shelves.get(alike)
        if shelf is None:
            shelf = self._shelves[alike] = Shelf(kind.need, kind.suspect, kind.lacks_files)
        kind.shelf = shelf
        heappush(shelf.heap, (kind.key(), kind))
