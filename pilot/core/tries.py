"""What was tried of a shard's tasks, and what follows: how often, when and with what again.

The rules are `bundle.retry`'s, which central obeys too; what is the pilot's own is when it leaves a
task to others although it might be tried again.
"""

from __future__ import annotations

from bundle import retry
from bundle.dataset.spec import Dataset, Request
from bundle.fates import counts
from bundle.ids import Task
from bundle.records.lease import Lease
from bundle.records.rules import NO_HISTORY, History, Maximum
from bundle.retry import Ended
from pilot.core.lineage import Place
from pilot.core.room import Need, Room, wanted

HELD_US_MAX = 300 * 1_000_000  # a node waits so long for a task; later it is central's again


class Tries:
    """The histories of a shard's tasks. Changes in place; costs nothing for a task without one."""

    def __init__(
        self,
        dataset: Dataset,
        lease: Lease,
        tried: dict[Place, History],
        node: Room,
        maximum: Maximum,
    ) -> None:
        """Begin with the histories that are known before the shard starts."""
        self._name, self._node = lease.dataset, node
        memory_mib = min(node.memory_mib, maximum.memory_mib or node.memory_mib)
        self._maximum = Maximum(memory_mib, maximum.walltime_ms, maximum.disk_bytes)
        self._tried = dict(tried)
        self._lost: dict[Place, int] = {}
        self.revise(dataset, lease)

    def revise(self, dataset: Dataset, lease: Lease) -> None:
        """Judge by this document, and what the lease says of its steps, from now on."""
        self._dataset, self._first = dataset, dict(lease.asks)
        self._asked = [self._first.get(n, one.request) for n, one in enumerate(dataset.steps)]
        self._needs = [wanted(one, self._node) for one in self._asked]

    def note(self, place: Place, attempt: Ended) -> int:
        """Take note of an attempt without success; return when the next may start, or -1: never.

        Never is meant here: where the budget is not spent, central may try elsewhere or later.
        """
        if not counts(attempt.fate):
            self._lost[place] = self._lost.get(place, 0) + 1
        known = retry.after(self._tried.get(place, NO_HISTORY), attempt)
        if known != NO_HISTORY:
            self._tried[place] = known
        due_us = self.not_before(place, attempt.ended_us)
        if (
            self.is_spent(place)
            or self._lost.get(place, 0) >= retry.LOSSES_PER_PILOT
            or retry.outgrown(known, self._maximum)
            or due_us > attempt.ended_us + HELD_US_MAX
        ):
            return -1
        return due_us

    def is_spent(self, place: Place) -> bool:
        """Return whether a task has used up its budget, or is poison."""
        known = self._tried.get(place)
        if known is None:
            return False
        step = self._dataset.steps[place[0]]
        return bool(retry.exhausted(known, step.retry, step.failures_max))

    def not_before(self, place: Place, now_us: int) -> int:
        """Return when a task may start; 0 where it need not wait."""
        known = self._tried.get(place)
        if known is None:
            return 0
        step, job = place
        task = Task(self._name, job, step)
        return retry.not_before(known, self._dataset.steps[step].retry, task, now_us)

    def losses(self, place: Place) -> int:
        """Return how many pilots were lost under a task."""
        known = self._tried.get(place)
        return len(known.lost_on) if known else 0

    def is_suspect(self, place: Place) -> bool:
        """Return whether one more lost pilot makes a task poison."""
        known = self._tried.get(place)
        return known is not None and retry.is_suspect(known, self._dataset.steps[place[0]].retry)

    @property
    def first(self) -> list[tuple[Need, Request]]:
        """What a first try needs and asks for, by step."""
        return list(zip(self._needs, self._asked, strict=True))

    def request(self, place: Place) -> Request:
        """Return what the next try of a task asks for."""
        known, step = self._tried.get(place), place[0]
        if known is None:
            return self._asked[step]
        said = self._dataset.steps[step]
        first = self._first.get(step)
        return retry.request_for(said.request, known, said.retry, self._maximum, first)

    def need(self, place: Place) -> Need:
        """Return what the next try of a task needs of the node."""
        if place not in self._tried:
            return self._needs[place[0]]
        return wanted(self.request(place), self._node)
