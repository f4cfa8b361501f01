"""The agenda of one shard: what is ready, running, done, and what can never be.

Every event costs the edges of one task and a heap's logarithm, so that ten thousand steps with a
fan-in of thousands are nothing special. The object changes in place, but decides from its
arguments alone: no clock, no files. When and with what a task is tried again is `bundle.retry`'s
word, as it is central's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum, auto
from heapq import heapify, heappop, heappush

from bundle.dataset import graph
from bundle.dataset.spec import Dataset, Per, Request
from bundle.fates import Fate
from bundle.ids import PilotRun
from bundle.intervals import IntervalSet
from bundle.records.lease import Lease
from bundle.records.rules import UNKNOWN, Maximum
from bundle.retry import Ended
from pilot.core.ahead import moves_ahead, with_files
from pilot.core.lineage import Earlier, Outcome, Outputs, Place, consumed
from pilot.core.packing import Packing
from pilot.core.ranks import Plan, levels_of
from pilot.core.request import inputs_bytes
from pilot.core.room import Need, Room
from pilot.core.tries import HELD_US_MAX, Tries

SOME_TIME = 2**62  # later than any back-off: for who has no clock
_NOBODY = PilotRun(bytes(8))


class State(IntEnum):
    """Where a leased task stands on this node."""

    WAITING = 0
    READY = auto()
    BACKING_OFF = auto()  # it failed, and is not to start again yet
    RUNNING = auto()
    DONE = auto()  # this and what follows is for good
    EXHAUSTED = auto()  # not tried again here: its budget is spent, or elsewhere is better
    BLOCKED = auto()  # a parent cannot succeed here
    UNWANTED = auto()  # it was called off


@dataclass(frozen=True, slots=True)
class Start:
    """A task to start: where it stands in the dataset, what it asks for, needs and consumes.

    `alone`: a pilot was lost under it before, so nothing shares a batch with it. `suspect`: one
    more loss may make it poison, so no other such task runs on the node with it.
    """

    place: Place
    generation: int
    need: Need
    consumed: tuple[bytes, ...]
    request: Request
    alone: bool = False
    suspect: bool = False


class Agenda:
    """What of one shard can be started next, and when nothing is left."""

    def __init__(
        self,
        dataset: Dataset,
        lease: Lease,
        earlier: Earlier,
        node: Room,
        maximum: Maximum = UNKNOWN,
        now_us: int = SOME_TIME,
        packing: Packing | None = None,
        key: int = 0,
        start_before_us: int = 0,
    ) -> None:
        """Lay out a shard. Costs the edges of its tasks.

        Args:
            dataset: the dataset of the lease.
            lease: what was promised.
            earlier: what is known before.
            node: the whole node.
            maximum: what a task that is tried again may grow to at the site.
            now_us: UTC microseconds, for tasks that back off still.
            packing: where what is ready waits together with other shards; None: alone.
            key: the shard's among the others there.
            start_before_us: when the lease allows no more starts; 0: never.
        """
        self.dataset, self._name, self._foreign = dataset, lease.dataset, lease.foreign
        self.outcomes = dict(earlier.outcomes)
        self._tries = Tries(dataset, lease, earlier.tried, node, maximum)
        self._children = graph.children_steps(dataset)
        self._levels = levels_of(dataset)
        self._generations = {
            (task.step, task.job): generation for task, generation in lease.tasks()
        }
        self._jobs: dict[int, list[int]] = {}
        for step, job in self._generations:
            self._jobs.setdefault(step, []).append(job)
        self._missing: dict[Place, int] = {}
        self._later: list[tuple[int, Place]] = []
        self._off: set[Place] = set()
        self._states: dict[Place, State] = {}
        self._counts = [0] * len(State)
        self._packing, self._key = Packing(node) if packing is None else packing, key
        self._plan = self._planned()
        self._packing.add(key, self._plan, start_before_us)
        self._lay_out(now_us)

    @property
    def complete(self) -> bool:
        """Whether no task of the shard can make progress here any more."""
        open_states = (State.READY, State.BACKING_OFF, State.RUNNING)
        return not any(self._counts[one] for one in open_states)

    @property
    def due_us(self) -> int:
        """When the first task that backs off may start; 0 where none does."""
        return self._later[0][0] if self._later else 0

    def count(self, state: State) -> int:
        """Return how many tasks stand in a state."""
        return self._counts[state]

    def state(self, place: Place) -> State:
        """Return where a leased task stands."""
        return self._states[place]

    def next(
        self, room: Room, now_us: int = SOME_TIME, *, suspect_runs: bool = False
    ) -> Start | None:
        """Take the task to start next in the room that is left, of a shard that is packed alone."""
        self.wake(now_us)
        chosen = self._packing.next(room, now_us, suspect_runs=suspect_runs)
        return None if chosen is None else self.begin(chosen[1:])

    def wake(self, now_us: int) -> None:
        """Make the tasks ready that have backed off long enough.

        One that would wait far longer than any may backs off by a clock that was set back since.
        """
        too_far_us = now_us + 2 * HELD_US_MAX
        while self._later and not now_us < self._later[0][0] <= too_far_us:
            self._make_ready(heappop(self._later)[1])

    def begin(self, place: Place) -> Start:
        """Note that a ready task starts; packing has chosen it."""
        self._move(place, State.RUNNING)
        return Start(
            place,
            self._generations[place],
            self._tries.need(place),
            consumed(self.dataset, place, self.outcomes),
            self._tries.request(place),
            alone=self._tries.losses(place) > 0,
            suspect=self._tries.is_suspect(place),
        )

    def put_back(self, place: Place) -> None:
        """Take a running task back that was not begun; nothing happened to it."""
        self._move(place, State.WAITING)
        self._again(place)

    def call_off(self, step: int, jobs: IntervalSet) -> frozenset[Place]:
        """Have no more tasks of a step started that nobody wants; return which of them run."""
        places = [(step, job) for job in self._jobs.get(step, ()) if job in jobs]
        off = [one for one in places if self._states[one] < State.DONE and one not in self._off]
        self._off.update(off)
        self._packing.forget(self._key, step, {job for _, job in off})
        self._later = [one for one in self._later if one[1] not in self._off]
        heapify(self._later)
        for place in off:
            if self._states[place] is not State.RUNNING:
                self._give_up(place, State.UNWANTED)
        return frozenset(one for one in off if self._states[one] is State.RUNNING)

    def inputs_bytes(self, place: Place) -> int:
        """Return the size of what a ready task reads."""
        return inputs_bytes(self.dataset, place, self.outcomes, self._foreign)

    def is_in_time(self, place: Place, now_us: int, end_us: int) -> bool:
        """Return whether a ready task can still be started, by lease and end."""
        latest_us = 1000 * self._tries.request(place).walltime_ms
        return self._packing.is_in_time(self._key, place[0], latest_us, now_us, end_us)

    def need(self, place: Place) -> Need:
        """Return what a task needs of the node, its files included."""
        return self._tries.need(place)

    def arrived(self, place: Place, size: int) -> None:
        """Let a ready task start that lacked files: so many bytes of them are here."""
        if self._states[place] is not State.READY:  # it was called off meanwhile
            return
        self._push(place, with_files(self._tries.need(place), size))

    def ended(self, place: Place, how: Fate | Ended, outputs: Outputs = ()) -> None:
        """Take note that a running task's attempt ended; its children or a retry become ready.

        A fate alone is that of an attempt of no known usage, at no time.
        """
        if self._states[place] is not State.RUNNING:
            raise ValueError(f"{place} is not running")
        attempt = Ended(how, _NOBODY) if isinstance(how, Fate) else how
        if attempt.fate is Fate.SUCCESS:
            self._move(place, State.DONE)
            if self._children[place[0]]:  # what nobody builds upon need not be remembered
                self.outcomes[place] = Outcome.of(outputs)
            for child in self._children_of(place):
                self._arrived(child)
            return
        due_us = self._tries.note(place, attempt)
        if due_us < 0 and place not in self._off:
            self._give_up(place, State.EXHAUSTED)
        elif due_us > attempt.ended_us and place not in self._off:
            self._back_off(place, due_us)
        else:
            self._move(place, State.WAITING)
            self._again(place)

    def _again(self, place: Place) -> None:
        """Make a task ready once more, unless nobody wants it any more."""
        if place in self._off:
            self._give_up(place, State.UNWANTED)
        else:
            self._make_ready(place)

    def revise(
        self, dataset: Dataset, lease: Lease, steps: Collection[int], now_us: int = SOME_TIME
    ) -> None:
        """Go on by another document of the same tasks: what has not begun asks for what it says.

        A task that used up its tries here stays so. Files that are here for a task stay its own.

        Args:
            dataset: the document.
            lease: the lease as it is with that.
            steps: those that are asked for or tried again otherwise.
            now_us: UTC microseconds.
        """
        recalled = [
            ((step, job), self._tries.need((step, job)).disk_bytes - need.disk_bytes)
            for step, job, need in self._packing.recall(self._key, steps)
        ]
        self.dataset = dataset
        self._tries.revise(dataset, lease)
        made, plan = self._planned(), self._plan
        plan.needs, plan.walltimes_us, plan.resumes = made.needs, made.walltimes_us, made.resumes
        self._packing.replanned(self._key)
        waited = [place for _, place in self._later if place[0] in steps]
        self._later = [one for one in self._later if one[1][0] not in steps]
        heapify(self._later)
        for place in waited:
            self._move(place, State.WAITING)
            self._go_on(place, now_us)
        for place, brought in recalled:
            if brought > 0 and not self._tries.is_spent(place):
                self.arrived(place, brought)
                continue
            self._move(place, State.WAITING)
            self._go_on(place, now_us)

    def _give_up(self, place: Place, state: State) -> None:
        """Have a task end here for good without a success."""
        self._move(place, state)
        self._block(self._children_of(place))

    def _planned(self) -> Plan:
        """Return the shard as packing sees it."""
        first = self._tries.first
        return Plan(
            kinds=[(self._name, step) for step in range(len(first))],
            needs=[need for need, _ in first],
            walltimes_us=[1000 * request.walltime_ms for _, request in first],
            children=self._children,
            order=graph.order(self.dataset),
            levels=self._levels,
            left=[len(self._jobs.get(step, ())) for step in range(len(first))],
            resumes=[bool(step.checkpoint.files) for step in self.dataset.steps],
        )

    def _lay_out(self, now_us: int) -> None:
        for place in self._generations:
            self._states[place] = State.WAITING
            self._counts[State.WAITING] += 1
        stuck: list[Place] = []
        for place in self._generations:
            if place in self.outcomes:
                self._move(place, State.DONE)
            elif self._tries.is_spent(place):
                self._move(place, State.EXHAUSTED)
                stuck.extend(self._children_of(place))
            else:
                missing = [
                    parent
                    for parent in graph.parents(self.dataset, *place)
                    if parent not in self.outcomes
                ]
                if missing:
                    self._missing[place] = len(missing)
                if any(parent not in self._generations for parent in missing):
                    stuck.append(place)
        self._block(stuck)
        for place in self._generations:
            if place not in self._missing and self._states[place] is State.WAITING:
                self._go_on(place, now_us)

    def _go_on(self, place: Place, now_us: int) -> None:
        """Let a task whose parents are done be ready, now or later, unless its tries are spent."""
        if self._tries.is_spent(place):
            self._give_up(place, State.EXHAUSTED)
            return
        due_us = min(self._tries.not_before(place, now_us), now_us + HELD_US_MAX)
        if due_us > now_us:
            self._back_off(place, due_us)
        else:
            self._make_ready(place)

    def _arrived(self, place: Place) -> None:
        """A parent's outcome is there now."""
        if self._states[place] is State.WAITING:
            self._missing[place] -= 1
            if not self._missing[place]:
                self._make_ready(place)

    def _make_ready(self, place: Place) -> None:
        self._move(place, State.READY)
        need, lacks_files = self._tries.need(place), False
        if self._packing.stages:
            lacks_files = moves_ahead(need, self.inputs_bytes(place))
        self._push(place, need, lacks_files=lacks_files)

    def _push(self, place: Place, need: Need, *, lacks_files: bool = False) -> None:
        self._packing.push(
            self._key,
            *place,
            need,
            1000 * self._tries.request(place).walltime_ms,
            self._tries.losses(place),
            self._tries.is_suspect(place),
            lacks_files=lacks_files,
        )

    def _back_off(self, place: Place, due_us: int) -> None:
        self._move(place, State.BACKING_OFF)
        heappush(self._later, (due_us, place))

    def _block(self, places: Iterable[Place]) -> None:
        todo = list(places)
        while todo:
            place = todo.pop()
            if self._states[place] is State.WAITING:
                self._move(place, State.BLOCKED)
                todo.extend(self._children_of(place))

    def _children_of(self, place: Place) -> Iterator[Place]:
        """Yield the leased tasks that need this one."""
        step = place[0]
        whole = self.dataset.steps[step].per is Per.DATASET
        for child in self._children[step]:
            candidates: Iterable[int] = (
                self._jobs.get(child, ()) if whole else graph.needing(self.dataset, *place, child)
            )
            for child_job in candidates:
                if (child, child_job) in self._generations:
                    yield child, child_job

    def _move(self, place: Place, state: State) -> None:
        self._counts[self._states[place]] -= 1
        self._counts[state] += 1
        self._states[place] = state
        if state >= State.DONE:
            self._plan.left[place[0]] -= 1
